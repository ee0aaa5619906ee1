"""The network as it is served: its `forward` is the exported graph."""

import torch
from torch import Tensor, nn

from training.appearance import Appearance, AppearanceMeasure
from training.augmentation import enlarge
from training.calibration import Calibration
from training.heat import HeatMaps
from training.mining import Step, conceal_cells, mine, salience
from training.network import LocalizationNetwork
from training.recipe import MiningRecipe

RIM = 1
"""Cells hidden around what a look found: its rim, left visible, would be the next look's find."""


class ServedNetwork(nn.Module):
    """Localizes over radiograph and mirror image, and mines every disease that it finds.

    The backbone runs once. A mining step hides cells of the aggregated map and runs again what
    comes after it, for all diseases in one batch, whatever training hid.

    Args:
        network: trained.
        side: of the network's input, in pixels.
        calibration: of its logits.
        heat: how its evidence becomes heat maps.
        appearance: how the radiographs that it learned from look to it.
        mining: what is hidden, and how often; without it, one look is all.
    """

    def __init__(
        self,
        network: LocalizationNetwork,
        side: int,
        calibration: Calibration,
        heat: HeatMaps,
        appearance: Appearance,
        mining: MiningRecipe | None = None,
    ) -> None:
        super().__init__()
        self.network, self.side, self.heat, self.mining = network.eval(), side, heat, mining
        self.appearance = AppearanceMeasure(appearance)
        self.scale: Tensor
        self.offset: Tensor
        self.threshold: Tensor
        self.register_buffer("scale", torch.tensor(calibration.scale).float())
        self.register_buffer("offset", torch.tensor(calibration.offset).float())
        self.register_buffer("threshold", torch.tensor(calibration.threshold).float())

    def forward(self, radiographs: Tensor) -> tuple[Tensor, ...]:
        """Localize a batch.

        Args:
            radiographs: uint8 `[batch, 1, side, side]`, as `localization` prepares them.

        Returns:
            `probabilities` `[batch, 14]` of the unhidden look; `heatmaps` `[batch, 14, rows,
            columns]` fused from all looks; `step_heatmaps` `[batch, looks, 14, rows, columns]`,
            what each look added; `typicality` `[batch]`, `presentation` `[batch, 4]` and `tones`
            `[batch, 2]` (see `training.appearance`); float32.
        """
        logits, maps, features = self.network.look_twice(enlarge(radiographs, self.side))
        return *self._localize(logits, maps, features), *self.appearance(radiographs, features)

    def _localize(
        self, logits: Tensor, maps: Tensor, features: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        probabilities = self._probabilities(logits)
        surroundings = self.heat.surroundings(maps)
        heatmaps = self.heat(maps, surroundings)
        if self.mining is None:
            return probabilities, heatmaps, heatmaps[:, None]
        looks = self._looks(features, maps, surroundings, self.mining)
        added = self._added(looks, surroundings, self.mining)
        heatmaps = torch.stack([heatmaps, *added[1:]]).amax(dim=0)
        return probabilities, heatmaps, torch.stack(added, dim=1)

    def _looks(
        self, features: Tensor, maps: Tensor, surroundings: Tensor, mining: MiningRecipe
    ) -> list[Step]:
        """Mine all diseases of all radiographs; each step's tensors `[batch, 14, ...]`.

        What is hidden is what the heat map shows.
        """
        batch, count = maps.shape[:2]  # Not `len`, which would make the batch a constant.
        asked = torch.arange(count).expand(batch, -1).flatten()
        seen = features[:, None].expand(-1, count, -1, -1, -1).flatten(0, 1)

        def stop(logits: Tensor) -> Tensor:
            found = self._probabilities(logits.unflatten(0, (-1, count)))
            return (found < self.threshold).flatten()

        def find(maps: Tensor) -> Tensor:
            return self.heat(maps.unflatten(0, (-1, count)), surroundings).flatten(0, 1)

        first = maps.flatten(0, 1)
        hide = conceal_cells(seen)
        steps = mine(self.network, seen, first, asked, hide, stop, mining, margin=RIM, find=find)
        return [Step(*(part.unflatten(0, (-1, count)) for part in step)) for step in steps]

    def _added(self, looks: list[Step], surroundings: Tensor, mining: MiningRecipe) -> list[Tensor]:
        """What each look adds to the heat map: the region that it found, which the next one hides.

        A later look counts for as much as the disease's probability has outlasted the hiding, and
        for nothing once it fell below its operating point.
        """
        first = self._probabilities(looks[0].logits)
        added = []
        for number, look in enumerate(looks):
            left = self._probabilities(look.logits)
            share = (left / first.clamp(min=1e-12)).clamp(max=1) * look.active
            if number > 0:
                share = share * (left >= self.threshold)
            shown = self.heat(look.maps, surroundings)
            found = look.visible * salience(shown, look.visible, mining)
            added.append(shown * found * share[..., None, None])
        return added

    def _probabilities(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(self.scale * logits + self.offset)
