"""What a request sends: the radiograph, raw or as the file of a form."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import Request
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.types import Scope

from service.problems import Refused
from service.protocol import divert, retain
from service.upload_limit import ROOM, Room
from service.uploads import Upload


async def read_upload(request: Request, upload: Upload, max_bytes: int) -> None:
    """Write the radiograph into ``upload``: the form's ``file``, else the whole body.

    Raises `Refused` where a multipart body cannot be read or has no file of that name.
    """
    async with aclosing(request.stream()) as stream:
        if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
            await _read_body(stream, request.scope, upload)
            return
        form = await _read_form(request.headers, stream, max_bytes)
    try:
        upload.write(await _form_file(form))
    finally:
        await form.close()


async def _read_body(stream: AsyncGenerator[bytes, None], scope: Scope, upload: Upload) -> None:
    """The server writes it; only what it cannot write comes from the stream."""
    divert(scope, _Counted(upload, scope["state"][ROOM]))
    try:
        async for part in stream:
            upload.write(part)
    finally:
        retain(scope)


class _Counted:
    """Has the server write into an upload as much as there is room for."""

    def __init__(self, upload: Upload, room: Room) -> None:
        self.memory = upload.rest
        self._upload, self._room = upload, room

    def filled(self, count: int) -> bool:
        """Count them."""
        self._upload.length += count
        return self._room.take(count)


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
