"""What a request sends: the radiograph, raw or as the file of a form."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import Request
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from service.problems import Refused


async def read_upload(request: Request, max_bytes: int) -> bytes:
    """Return the bytes of the radiograph: the form's ``file``, else the whole body.

    Raises `Refused` where a multipart body cannot be read or has no file of that name.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        return await request.body()
    async with aclosing(request.stream()) as stream:
        form = await _read_form(request.headers, stream, max_bytes)
    try:
        return await _form_file(form)
    finally:
        await form.close()


async def _read_form(
    headers: Headers, stream: AsyncGenerator[bytes, None], max_bytes: int
) -> FormData:
    parser = MultiPartParser(headers, stream, max_files=1, max_fields=16)
    # Radiographs are kept in memory, which the upload limit bounds: never on a disk.
    parser.spool_max_size = max_bytes
    try:
        return await parser.parse()
    except MultiPartException as error:
        raise Refused("invalid-multipart", f"{error.message} Send one field, `file`.") from error


async def _form_file(form: FormData) -> bytes:
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise Refused(
            "missing-file",
            "Send the radiograph as the file of a form field named `file`: "
            "curl -F file=@radiograph.png",
        )
    return await file.read()
