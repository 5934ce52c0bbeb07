"""DICOM in and out (extra `[dicom]`): photographs become ordinary pictures, and answers become DICOM objects."""
