"""The labels of QM9: which property, in which unit, and energies relative to the free atoms.

Task, what it is, unit:

- `mu`: dipole moment, debye
- `alpha`: isotropic polarisability, bohr^3
- `homo`, `lumo`: energies of the highest occupied and the lowest unoccupied orbital, eV
- `gap`: `lumo` less `homo`, eV
- `r2`: electronic spatial extent, bohr^2
- `zpve`: zero-point vibrational energy, eV
- `u0`, `u298`: internal energy at 0 K and at 298.15 K, eV
- `h298`, `g298`: enthalpy and free energy at 298.15 K, eV
- `cv`: heat capacity at constant volume, 298.15 K, cal / (mol K)

The publishers give energies in hartree, and `u0`, `u298`, `h298` and `g298` as totals, which tell
little more than which atoms there are. Here these four are less the energies of the free atoms:
atomisation energies with a minus sign, as in most papers since SchNet.
"""

from collections.abc import Mapping

import numpy as np

HARTREE = 27.211386245988
"""Electronvolt; CODATA 2018."""

PROPERTIES = {
    "mu": ("Dipole_debye", 1.0),
    "alpha": ("Polarizability_bohr3", 1.0),
    "homo": ("HOMO_au", HARTREE),
    "lumo": ("LUMO_au", HARTREE),
    "gap": ("HOMO_LUMO_gap_au", HARTREE),
    "r2": ("R2_bohr2", 1.0),
    "zpve": ("ZPVE_au", HARTREE),
    "u0": ("InternalEnergy_0K_au", HARTREE),
    "u298": ("InternalEnergy_298K_au", HARTREE),
    "h298": ("Enthalphy_298K_au", HARTREE),
    "g298": ("GibbsFreeEnergy_298K_au", HARTREE),
    "cv": ("Heatcapacity_Cv_cal_mol_K", 1.0),
}
"""Task to the column of the publishers and to its unit in those above."""

FREE_ATOMS = {
    "u0": {1: -0.500273, 6: -37.846772, 7: -54.583861, 8: -75.064579, 9: -99.718730},
    "u298": {1: -0.498857, 6: -37.845355, 7: -54.582445, 8: -75.063163, 9: -99.717314},
    "h298": {1: -0.497912, 6: -37.844411, 7: -54.581501, 8: -75.062219, 9: -99.716370},
    "g298": {1: -0.510927, 6: -37.861317, 7: -54.598897, 8: -75.079532, 9: -99.733544},
}
"""Task to atomic number to hartree, with the method of the data, B3LYP/6-31G(2df,p): "Atomref:
Reference thermochemical energies of H, C, N, O, F atoms" of the publishers of the data,
doi:10.6084/m9.figshare.1057643."""


def make_labels(raw: Mapping[str, np.ndarray], numbers: np.ndarray) -> dict[str, np.ndarray]:
    """Labels by task, float32 (molecules,).

    Args:
        raw: task to what the publishers give, float64 (molecules,).
        numbers: atomic numbers, (molecules, 29), 0 where there is no atom.

    Example:

    >>> methane = np.array([[6, 1, 1, 1, 1]])
    >>> make_labels({"u0": np.array([-40.47893])}, methane)["u0"].round(4)
    array([-17.1722], dtype=float32)
    """
    labels = {}
    for task, values in raw.items():
        # In float64: what is left is a hundredth of the total.
        for number, energy in FREE_ATOMS.get(task, {}).items():
            values = values - energy * (numbers == number).sum(axis=1)
        labels[task] = (values * PROPERTIES[task][1]).astype("float32")
    return labels
