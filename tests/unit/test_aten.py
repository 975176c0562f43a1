"""Programs of torch.export as float models: every operation, and refusals that name it."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from modules import plain_module
from torch import Tensor, nn
from torch.nn import functional as F

from tesla_embed.errors import ConfigError, UnsupportedOp
from tesla_embed.ir.graph import Model
from tesla_embed.ir.interpret_float import interpret_float
from tesla_embed.nn.aten import export_program, float_model, load_program


def calm(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module in evaluation mode, in float64, its statistics and affine factors random."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            for values in (part.running_mean, part.weight, part.bias):
                if values is not None:
                    values.data.normal_(0, 1, generator=generator)
            if part.running_var is not None:
                part.running_var.uniform_(0.3, 2, generator=generator)
    return module.eval()


def device_order(x: Tensor) -> npt.NDArray[np.float32]:
    """Examples as the device takes them: channels last."""
    values: npt.NDArray[np.float32] = x.movedim(1, -1).contiguous().numpy()
    return values[:, None] if x.ndim == 3 else values


def same(module: nn.Module, shape: tuple[int, ...], *, decomposed: bool | None = None) -> Model:
    """The float model, which computes what the module does, from both forms of its program."""
    if decomposed is None:
        same(module, shape, decomposed=True)
        return same(module, shape, decomposed=False)
    module = calm(module)
    program = export_program(module, torch.zeros(1, *shape))
    model = float_model(program.run_decompositions() if decomposed else program, "net")
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        want = module.double()(x.double())
    module.float()
    found = interpret_float(model, model.regions[0], device_order(x) if x.ndim > 2 else x.numpy())
    expected = want.movedim(1, -1) if want.ndim > 2 else want
    assert found.size == expected.numel()
    largest = max(1.0, float(expected.abs().max()))
    found = found.reshape(expected.shape)
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=2e-6 * largest)
    return model


def kinds(model: Model) -> list[str]:
    return [type(op).__name__ for op in model.graph.ops]


class Whole(nn.Module):
    """Nearly everything at once."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8))
        self.depthwise = nn.Conv2d(8, 8, 3, padding="same", groups=8)
        self.wide = nn.Conv2d(8, 16, (3, 1), dilation=(2, 1), groups=1)
        self.twice = nn.Conv2d(8, 16, 3, padding=1, groups=8)
        self.norm = nn.BatchNorm2d(16)
        self.fc = nn.Linear(16 * 7 * 3, 6)
        self.last, self.drop = nn.Linear(6, 5), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(self.stem(x))
        x = F.relu(x + self.depthwise(x))
        side = F.pad(x, (0, 1, 1, 0))
        y = torch.cat([self.twice(x), F.max_pool2d(self.wide(side), 2, 1)], 2)
        y = self.norm(y)
        y = F.avg_pool2d(F.max_pool2d(y, 2, ceil_mode=False), 2, 1)
        y = torch.sigmoid(y).flatten(1)
        return F.softmax(self.last(self.drop(F.relu(self.fc(y)))), dim=1)


def test_a_network_with_nearly_everything() -> None:
    model = same(Whole(), (3, 20, 16))
    assert kinds(model)[:4] == ["Conv2D", "DepthwiseConv2D", "Add", "Pad"]
    assert kinds(model)[-3:] == ["FullyConnected", "FullyConnected", "Softmax"]
    assert model.regions[0].dp == 100 and len(model.regions) == 1


@settings(max_examples=16, deadline=None, derandomize=True)
@given(st.sampled_from(["chain", "residual", "depthwise", "concat"]), st.integers(0, 10_000))
def test_random_modules(kind: str, seed: int) -> None:
    same(plain_module(kind, seed), (3, 8, 8), decomposed=seed % 2 == 0)


class Function(nn.Module):
    """A function of images, between layers that fix its surroundings."""

    def __init__(self, function: object) -> None:
        super().__init__()
        self.conv, self.function = nn.Conv2d(3, 4, 3, padding=1), function
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.function(self.conv(x))  # type: ignore[operator]
        return result


FUNCTIONS = {
    "relu": lambda x: F.relu(F.max_pool2d(x, 3, 2, 1)),
    "relu6": lambda x: F.relu6(x.mean((2, 3), keepdim=True)),
    "hardtanh": lambda x: F.hardtanh(x, 0.0, 6.0),
    "hardtanh to one": lambda x: F.hardtanh(F.max_pool2d(F.hardtanh(x), 2)),
    "clamp to one": lambda x: x.clamp(-1, 1) + x,
    "clamp": lambda x: x.clamp(min=0, max=6) + x,
    "clamp_min": lambda x: x.clamp(min=0),
    "add itself": lambda x: x + x,
    "cat channels": lambda x: torch.cat([x, F.relu(x)], 1),
    "cat height": lambda x: torch.cat([x, F.relu(x)], 2),
    "cat width": lambda x: torch.cat([x, F.relu(x), x], -1),
    "cat of vectors": lambda x: torch.cat([x.mean((2, 3)), x.mean([-1, -2])], 1),
    "pad": lambda x: F.pad(x, (1, 2, 0, 3)),
    "pad of all": lambda x: F.pad(x, (1, 2, 0, 3, 0, 0), value=0.0),
    "global average": lambda x: F.adaptive_avg_pool2d(x, 1),
    "average to a size": lambda x: F.adaptive_avg_pool2d(x, (4, 2)),
    "padded average": lambda x: F.avg_pool2d(x, 3, 2, 1),
    "average of what is inside": lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    "ceil that changes nothing": lambda x: F.max_pool2d(x, 2, ceil_mode=True),
    "softmax of pixels": lambda x: torch.softmax(x, 1),
    "sigmoid": torch.sigmoid,
    "mean": lambda x: x.mean((3, 2)).view(-1, 4),
    "squeezed": lambda x: F.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(-1),
    "there and back": lambda x: F.relu(x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)),
    "a vector and back": lambda x: F.relu(x.flatten(1).unflatten(1, (4, 8, 8))),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_images(name: str) -> None:
    same(Function(FUNCTIONS[name]), (3, 8, 8))


@pytest.mark.parametrize("padding", [0, 1, (2, 0), 3, "same", "valid"])
@pytest.mark.parametrize("kernel", [1, 3, (2, 4)])
@pytest.mark.parametrize("groups", [1, 3])
def test_convolutions(padding: int | str, kernel: int, groups: int) -> None:
    conv = nn.Conv2d(3, 6, kernel, padding=padding, dilation=(1, 2), groups=groups)
    same(nn.Sequential(conv, nn.ReLU(), nn.Conv2d(6, 2, 1, stride=2)), (3, 9, 12))


@pytest.mark.parametrize("shape", [(3, 5, 7), (4, 1, 1), (1, 6, 2)])
def test_flattening_permutes_the_columns_of_the_next_layer(shape: tuple[int, ...]) -> None:
    """Whatever lies between: ReLU, dropout, a joined vector, a second view."""

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            size = int(np.prod(shape))
            self.conv, self.fc = nn.Conv2d(shape[0], shape[0], 1), nn.Linear(size, 4)
            self.more = nn.Linear(size + 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            flat = torch.flatten(self.conv(x), 1)
            hidden = self.fc(F.dropout(F.relu(flat), training=self.training))
            return self.more(torch.cat([torch.sigmoid(hidden), flat.reshape(len(x), -1)], 1))

    same(Flat(), shape)


def test_vectors_with_batch_norm() -> None:
    layers = nn.Sequential(
        nn.Linear(7, 9, bias=False), nn.BatchNorm1d(9), nn.ReLU6(), nn.Linear(9, 3), nn.Softmax(1)
    )
    assert kinds(same(layers, (7,))) == ["FullyConnected", "FullyConnected", "Softmax"]


class OverTime(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm = nn.Conv1d(3, 6, 5, padding="same"), nn.BatchNorm1d(6)
        self.two = nn.Conv1d(6, 6, 3, stride=2, padding=2, dilation=2, groups=6)
        self.pool, self.fc = nn.MaxPool1d(3, 2, 1), nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(self.pool(self.norm(torch.relu(self.one(x)))), (1, 0))
        x = F.avg_pool1d(x, 2, 1)
        result: Tensor = self.fc(self.two(x).flatten(1))
        return result


def test_sequences_are_images_of_one_row() -> None:
    model = same(OverTime(), (3, 16))
    assert model.graph.tensors[0].type.shape == (1, 16, 3)


def test_modules_that_take_channels_last() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(2, 3, 3), nn.Linear(3 * 3 * 4, 5)

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.fc(self.conv(x.permute(0, 3, 1, 2)).flatten(1))
            return result

    module = Last().eval()
    program = export_program(module, torch.zeros(1, 5, 6, 2))
    model = float_model(program, "net", channels_last=True)
    x = torch.randn(4, 5, 6, 2)
    found = interpret_float(model, model.regions[0], x.numpy())
    np.testing.assert_allclose(found, module(x).detach().numpy(), atol=1e-5)
    with pytest.raises(UnsupportedOp, match=r"conv2d.*elements are rearranged"):
        float_model(program, "net")


class InPlace(nn.Module):
    """Changes tensors, also through a view, and drops results."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 3, 1), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        self.relu(y)
        z: Tensor = self.conv(y)
        z += y
        z.add_(x)
        z.view(x.shape[0], -1).relu_()
        return z + y


def test_tensors_that_are_changed_in_place() -> None:
    assert kinds(same(InPlace(), (3, 4, 5))).count("Add") == 3


def test_inputs_that_are_changed_or_no_real_numbers() -> None:
    changed = export_program(nn.Sequential(nn.ReLU(inplace=True)), torch.zeros(1, 3, 4, 4))
    with pytest.raises(UnsupportedOp, match="changes its input"):
        float_model(changed, "net")
    whole = export_program(nn.Sequential(nn.ReLU()), torch.zeros(1, 3, dtype=torch.int64))
    with pytest.raises(UnsupportedOp, match="real numbers are supported"):
        float_model(whole, "net")


def test_any_batch() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).eval()
    batch = torch.export.Dim("batch")
    dynamic = torch.export.export(
        module, (torch.zeros(2, 3, 8, 8),), dynamic_shapes=({0: batch},)
    )  # fmt: skip
    several = export_program(module, torch.zeros(5, 3, 8, 8))
    models = [float_model(program, "net") for program in (dynamic, several)]
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    results = [interpret_float(model, model.regions[0], x) for model in models]
    assert np.array_equal(*results)


REFUSED = {
    "operator 1, gelu": F.gelu,
    "is no activation": lambda x: x + 1.5,
    "must be equal": lambda x: x + x.mean((2, 3), keepdim=True),
    "only 0 …, 0 … 6 and -1 … 1": lambda x: x.clamp(-1, 2),
    "joins along the batch": lambda x: torch.cat([x, x], 0),
    "only space may be padded": lambda x: F.pad(x, (0, 0, 0, 0, 1, 0)),
    "pads with reflect": lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"),
    "pads with 2.0, not": lambda x: F.pad(x, (1, 1, 1, 1), value=2.0),
    "by ceil_mode": lambda x: F.max_pool2d(x, 3, ceil_mode=True),
    "only all of space": lambda x: x.mean(1),
    "only channels, 1": lambda x: torch.softmax(x, 2),
    "does not divide it": lambda x: F.adaptive_avg_pool2d(x, 3),
    "a divisor of its own": lambda x: F.avg_pool2d(x, 2, divisor_override=3),
    "leave out the last flattening": lambda x: x.flatten(1),
    "another order on its other side": lambda x: x + x.transpose(2, 3),
    "has a dilated window": lambda x: F.max_pool2d(x, 2, dilation=2),
    "operator 1, upsample_nearest2d": lambda x: F.interpolate(x, scale_factor=2),
}  # fmt: skip


@pytest.mark.parametrize("reason", REFUSED)
def test_refusals_name_the_operation(reason: str) -> None:
    program = export_program(Function(REFUSED[reason]).eval(), torch.zeros(1, 3, 8, 8))
    with pytest.raises(UnsupportedOp) as caught:
        float_model(program, "net")
    assert reason in str(caught.value)
    if "operator" in reason:
        assert "supported are" in str(caught.value) and "conv2d" in str(caught.value)


class Shifted(nn.Module):
    """Adds a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.shift: Tensor
        self.register_buffer("shift", torch.ones(1, 3, 8, 8))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.shift


class Computed(nn.Module):
    """Multiplies by weights that follow from the input."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.flatten(1), x.flatten(1))


PLACES = [
    (nn.Conv2d(6, 6, 1, groups=2), 6, "2 groups of 6"),
    (nn.ConvTranspose2d(3, 6, 2), 3, "operator 0, conv_transpose2d "),
    (Shifted(), 3, "computes with the constant 'b_shift'; only weights may be"),
    (Computed(), 3, "the weight is computed, not constant"),
    (nn.Sequential(nn.Flatten(), nn.ReLU(), nn.BatchNorm1d(192)), 3, "directly follow a linear"),
    (nn.Linear(8, 4), 3, "only vectors are supported: flatten before"),
    (nn.BatchNorm2d(3, track_running_stats=False), 3, "training mode"),
]


@pytest.mark.parametrize(("module", "channels", "reason"), PLACES)
def test_layers_in_places_where_they_cannot_be(
    module: nn.Module, channels: int, reason: str
) -> None:
    program = export_program(module, torch.zeros(1, channels, 8, 8))
    with pytest.raises(UnsupportedOp) as caught:
        float_model(program, "net")
    assert reason in str(caught.value)


def test_refusals_of_whole_programs() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    training = torch.export.export(module.train(), (torch.zeros(2, 3, 8, 8),))
    with pytest.raises(UnsupportedOp, match=r"call \.eval\(\) before exporting"):
        float_model(training, "net")
    with pytest.raises(ConfigError, match="no C identifier"):
        float_model(export_program(module, torch.zeros(2, 3, 8, 8)), "a b")
    assert module.training  # as it was

    class Two(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x.relu(), x.sigmoid()

    with pytest.raises(UnsupportedOp, match="2 outputs"):
        float_model(export_program(Two(), torch.zeros(1, 3)), "net")

    class Pair(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x + y

    pair = torch.export.export(Pair(), (torch.zeros(1, 3), torch.zeros(1, 3)))
    with pytest.raises(UnsupportedOp, match="2 inputs"):
        float_model(pair, "net")
    with pytest.raises(UnsupportedOp, match=r"Pair cannot be exported by torch\.export"):
        export_program(Pair(), torch.zeros(1, 3))


def test_custom_operations_are_not_taken_for_others(tmp_path: Path) -> None:
    @torch.library.custom_op("tesla_test::relu", mutates_args=())
    def relu(x: Tensor) -> Tensor:
        return x * 2

    relu.register_fake(torch.empty_like)
    program = export_program(Function(relu).eval(), torch.zeros(1, 3, 8, 8))
    with pytest.raises(UnsupportedOp, match=r"operator 1, tesla_test\.relu"):
        float_model(program, "net")


def test_files_are_opened_only_when_trusted(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(4, 2)).eval()
    path = tmp_path / "net.pt2"
    torch.export.save(export_program(module, torch.zeros(1, 4)), path)
    with pytest.raises(ConfigError, match="add --trust"):
        load_program(path, trust=False)
    assert kinds(float_model(load_program(path, trust=True), "net")) == ["FullyConnected"]
    whole = path.read_bytes()
    for keep in (0, 10, len(whole) // 2, len(whole) - 4):
        path.write_bytes(whole[:keep])
        with pytest.raises(ConfigError, match="cannot read it"):
            load_program(path, trust=True)
    with pytest.raises(ConfigError, match="No such file"):
        load_program(tmp_path / "none.pt2", trust=True)
