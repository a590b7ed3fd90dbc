#!/usr/bin/env python3
"""tools/demo_data.py OUT: the studies of the demo region, one folder for each tenant.

A real head CT (the volume that Debian's invesalius-examples ships), small real files of python3-pydicom, and generated MR,
CR and US images.  All patients are invented.  UIDs are derived from the content, so that a second run makes the same files.
"""
import pathlib
import shutil
import sys
import tarfile
import uuid

import numpy
import pydicom.data
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

OUT = pathlib.Path(sys.argv[1])
CRANIUM = pathlib.Path("/usr/share/doc/invesalius-examples/examples/Cranium.inv3")
CLASSES = {"CT": "1.2.840.10008.5.1.4.1.1.2", "MR": "1.2.840.10008.5.1.4.1.1.4", "CR": "1.2.840.10008.5.1.4.1.1.1"}


def uid(*parts):
    return "2.25." + str(uuid.uuid5(uuid.NAMESPACE_URL, "garonne-demo/" + "/".join(map(str, parts))).int)


def write(folder, key, series, number, modality, pixels, patient, study, **attrs):
    name, pid, birth, sex = patient
    date, time, accession, description, referrer = study
    ds = FileDataset("", {}, preamble=b"\0" * 128)
    ds.is_little_endian, ds.is_implicit_VR = True, False
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SOPClassUID, ds.SOPInstanceUID = CLASSES[modality], uid(key, series, number)
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = date
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = time
    ds.AccessionNumber, ds.Modality, ds.Manufacturer = accession, modality, "Garonne demo"
    ds.InstitutionName, ds.ReferringPhysicianName = folder.name, referrer
    ds.StudyDescription, ds.SeriesDescription = description, attrs.pop("SeriesDescription", description)
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = name, pid, birth, sex
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.StudyID = uid(key), uid(key, series), accession
    ds.SeriesNumber, ds.AcquisitionNumber, ds.InstanceNumber = series, 1, number
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator, ds.PatientPosition = uid(key, "frame"), "", "HFS"
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
    ds.PixelRepresentation = 1 if pixels.dtype == numpy.int16 else 0
    for k, v in attrs.items():
        setattr(ds, k, v)
    ds.PixelData = pixels.tobytes()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    folder.mkdir(parents=True, exist_ok=True)
    ds.save_as(folder / f"{key}-{series}-{number:04d}.dcm", write_like_original=False)


def geometry(number, spacing, thickness):
    return dict(ImagePositionPatient=[-120.0, -120.0, number * thickness], ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
                PixelSpacing=[f"{spacing:.6f}"] * 2, SliceThickness=f"{thickness:g}")


def head_ct(folder):
    if CRANIUM.exists():
        with tarfile.open(CRANIUM) as tar:
            raw = tar.extractfile(next(m for m in tar if m.name.endswith("matrix.dat"))).read()
        volume = numpy.frombuffer(raw, numpy.int16).reshape(108, 256, 256)
    else:  # the package is not there: an ellipsoid of water in air
        z, y, x = numpy.ogrid[-1:1:40j, -1:1:256j, -1:1:256j]
        volume = numpy.where(z * z + y * y * 2 + x * x * 2 < 0.8, 40, -1000).astype(numpy.int16)
    for i, image in enumerate(volume):
        write(folder, "ct-crane", 1, i + 1, "CT", image, ("LEFÈVRE^Élodie", "IPP100234", "19720314", "F"),
              ("20260912", "083015", "A2026091201", "SCANNER CRANIO-ENCÉPHALIQUE", "DUBOIS^Marc"), KVP="120", RescaleIntercept="0",
              RescaleSlope="1", WindowCenter="40", WindowWidth="400", BodyPartExamined="SKULL", Laterality="", SeriesDescription="AXIAL 1.5 MM", **geometry(i, 0.957, 1.5))


def knee_mr(folder):
    y, x = numpy.mgrid[-1:1:192j, -1:1:192j]
    for series, weight in ((1, "T1 SAG"), (2, "T2 FAT SAT SAG")):
        for i in range(24):
            r = numpy.hypot(x * 1.2, y + 0.1 * numpy.sin(i / 4))
            image = (900 * (r < 0.8) - 500 * (r < 0.5 - abs(i - 12) / 40) + 60 * numpy.cos(20 * x * series)).clip(0, 4095)
            write(folder, "irm-genou", series, i + 1, "MR", image.astype(numpy.uint16), ("MARTINEZ^José", "R-55120", "19850722", "M"),
                  ("20261003", "141200", "A2026100377", "IRM GENOU DROIT", "ROUX^Claire"), ScanningSequence="SE", SequenceVariant="NONE",
                  ScanOptions="", BodyPartExamined="KNEE", Laterality="R", MRAcquisitionType="2D", EchoTime="15", RepetitionTime="600", EchoTrainLength=1, SeriesDescription=weight,
                  **geometry(i, 0.8, 3))


def chest_cr(folder, n, patient, study):
    y, x = numpy.mgrid[-1:1:1024j, -1:1:860j]
    lungs = numpy.exp(-((abs(x) - 0.4) / 0.25) ** 2 - (y / 0.7) ** 2)
    ribs = 0.15 * numpy.cos(24 * y + 4 * abs(x))
    image = (3000 - 1800 * lungs + 300 * ribs * lungs + n).clip(0, 4095).astype(numpy.uint16)
    write(folder, f"thorax-{n}", 1, 1, "CR", image, patient, study, BodyPartExamined="CHEST", ViewPosition="PA", BitsStored=12, HighBit=11)


def main():
    head_ct(OUT / "PURPAN")
    knee_mr(OUT / "CLINIQUE")
    chest_cr(OUT / "PURPAN", 1, ("LEFÈVRE^Élodie", "IPP100234", "19720314", "F"), ("20250128", "101010", "A2025012809", "RADIO THORAX", "DUBOIS^Marc"))
    chest_cr(OUT / "CABINET", 2, ("N'GUYEN^Thanh Hà", "0071", "19930501", "F"), ("20261101", "090500", "7781", "RADIOGRAPHIE PULMONAIRE", "GARCIA^Paul"))
    shipped = pathlib.Path(pydicom.data.__file__).parent / "test_files"
    for name in ("CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm", "SC_rgb_rle.dcm", "test-SR.dcm", "waveform_ecg.dcm", "rtplan.dcm", "liver_1frame.dcm"):
        if (shipped / name).exists():
            (OUT / "CABINET").mkdir(parents=True, exist_ok=True)
            shutil.copy(shipped / name, OUT / "CABINET")


main()
