"""The weights that come with the project, as they lie in the repository."""

from pathlib import Path

import numpy as np
from pydicom.data import get_testdata_file

from localization import DISEASES, Compute, Localizer, ModelBundle, Radiograph, shipped_bundle


def test_the_shipped_bundle_opens_and_its_card_speaks_of_it() -> None:
    bundle = ModelBundle.load(shipped_bundle())
    card = (bundle.folder / "MODEL_CARD.md").read_text()
    manifest = bundle.manifest
    assert f"# {manifest.name}" in card
    assert f"Version {manifest.version}" in card
    for group, areas in manifest.figures["auc"].items():
        assert f"{areas['mean']:.3f}" in card, group
    for group, scores in manifest.figures["localization"].items():
        assert f"{scores['all boxes']['pointing game']:.3f}" in card, group


def test_the_shipped_reference_has_well_filled_bins_of_the_graph_that_is_served() -> None:
    manifest = ModelBundle.load(shipped_bundle()).manifest
    reference = manifest.reference
    assert reference is not None
    assert manifest.fastest in reference.data
    assert reference.radiographs == manifest.training["radiographs"]["validation"]
    for disease, bins in reference.diseases.items():
        assert 6 <= len(bins.shares) <= 12, disease
        assert 0.08 <= min(bins.shares) <= max(bins.shares) <= 0.25, disease


def test_a_chest_with_masses_is_found_to_have_them() -> None:
    """The public DICOM file of a chest with several large masses, stored as MONOCHROME1."""
    file = get_testdata_file("RG1_UNCR.dcm", download=False)
    radiograph = Radiograph.read(Path(str(file)).read_bytes())
    localizer = Localizer(ModelBundle.load(shipped_bundle()), Compute("cpu"))
    localization = localizer.localize(radiograph)
    facts = localization.radiograph
    assert (facts.width, facts.height) == (1841, 1955)
    assert facts.typicality > localizer.bundle.manifest.appearance.doubtful
    assert facts.warnings == ()
    findings = {finding.disease: finding for finding in localization.findings}
    assert set(findings) == set(DISEASES)
    assert findings["Mass"].positive
    assert findings["Mass"].boxes
    heatmap = findings["Mass"].heatmap
    assert 0 <= heatmap.min() < heatmap.max() <= 1
    assert np.isfinite(heatmap).all()
