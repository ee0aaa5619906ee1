"""What headers of JPEG 2000 say, read before a decoder believes it: of pictures and of DICOM."""
