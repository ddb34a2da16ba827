"""Hostile and damaged entries: each is refused with an error that names what, and nothing runs."""

import base64
import json
import pickle
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

import zoo
from conformance.entry_folders import (
    ARCHITECTURE,
    BOUGHT,
    CLICKED,
    MANIFEST,
    TRUNK,
    X,
    answers,
    assert_equal_answers,
    change_architecture,
    change_manifest,
    change_weights,
    copied,
    layer_of,
    read_json,
    rehash,
    small_model,
    write_json,
)
from zoo.entries import architecture, manifest
from zoo.entries.manifest import BadEntryError

KERNEL = "trunk/trunk_0/kernel"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return zoo.save(small_model(), tmp_path_factory.mktemp("saved") / "entry", {"features": X})


@pytest.fixture
def folder(whole, tmp_path):
    return copied(whole, tmp_path / "entry")


@pytest.fixture
def marker(tmp_path):
    """What every payload would create."""
    path = tmp_path / "executed"
    yield path
    assert not path.exists(), "something of the entry was executed"


def refused(folder, *said, load=zoo.load):
    with pytest.raises(BadEntryError) as caught:
        load(folder)
    for part in said:
        assert part in str(caught.value), f"{part!r} is not in: {caught.value}"


def test_the_entry_that_is_attacked_is_whole(folder):
    assert_equal_answers(answers(zoo.load(folder)), answers(small_model()))
    zoo.verify(folder)


# -- payloads in the architecture


def lambda_layer(marker):
    touch = lambda x, path=str(marker): __import__("pathlib").Path(path).touch() or x  # noqa: E731
    return keras.saving.serialize_keras_object(keras.layers.Lambda(touch, name="evil"))


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


class Trap:
    """Registered in the reader's process, by somebody else than mtl_keras."""

    marker = None

    def __init__(self, **config):
        Path(Trap.marker).touch()

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def __call__(self, *args, **kwargs):
        Path(Trap.marker).touch()


keras.saving.register_keras_serializable(package="elsewhere")(Trap)
keras.saving.register_keras_serializable(package="mtl_keras", name="Disguised")(Trap)


def named(module, name, config=None, **more):
    return {"module": module, "class_name": name, "config": config or {}} | more


def function(name, module="builtins", **more):
    return {"module": module, "class_name": "function", "config": name} | more


# By what the error must name: from a path to a config that would create it, or come near.
PAYLOADS = {
    "os.system": lambda path: named("os", "system", f"touch {path}"),
    "posix.system": lambda path: named("posix", "system", f"touch {path}"),
    "subprocess.Popen": lambda path: named("subprocess", "Popen", {"args": ["touch", str(path)]}),
    "builtins.eval": lambda path: named("builtins", "eval", f"open('{path}', 'w')"),
    "builtins.open": lambda path: named("builtins", "open", {"file": str(path), "mode": "w"}),
    "builtins.exec": lambda path: function("exec", registered_name="function"),
    "builtins.print": lambda path: function("print"),
    "builtins.__import__": lambda path: function("__import__", registered_name="__import__"),
    "builtins.get": lambda path: function("get", registered_name="function"),
    "builtins.deserialize": lambda path: function("deserialize", registered_name="function"),
    "builtins.Adam": lambda path: function("Adam", registered_name="function"),
    "builtins.Trap": lambda path: function("Trap", registered_name="function"),
    "builtins.elsewhere>Trap": lambda path: function("elsewhere>Trap"),
    "os.popen": lambda path: function("popen", "os", registered_name="mtl_keras>FiLM"),
    "keras.layers.Lambda": lambda path: function("Lambda", "keras.layers"),
    "keras.saving.load_model": lambda path: function("load_model", "keras.saving"),
    "Lambda": lambda_layer,
    "keras.src.layers.core.lambda_layer.Lambda": lambda path: (
        lambda_layer(path) | {"module": "keras.src.layers.core.lambda_layer"}
    ),
    "mtl_keras.layers.Lambda": lambda path: (
        lambda_layer(path) | {"module": "mtl_keras.layers", "registered_name": "mtl_keras>FiLM"}
    ),
    "Received: 'Lambda'": lambda path: {"class_name": "Lambda", **_without_module(path)},
    "__lambda__": lambda path: {
        "class_name": "__lambda__",
        "config": lambda_layer(path)["config"]["function"].get("config", {}),
    },
    "__typespec__": lambda path: {
        "class_name": "__typespec__",
        "spec_name": "system",
        "module": "os",
        "registered_name": None,
        "config": [f"touch {path}"],
    },
    "TFSMLayer": lambda path: named("keras.layers", "TFSMLayer", {"filepath": str(path.parent)}),
    "TorchModuleWrapper": lambda path: named(
        "keras.layers",
        "TorchModuleWrapper",
        {"module": base64.b64encode(pickle.dumps(Bomb(path))).decode()},
    ),
    "JaxLayer": lambda path: named("keras.layers", "JaxLayer", {"call_fn": function("eval")}),
    "FlaxLayer": lambda path: named("keras.layers", "FlaxLayer", {"module": "os"}),
    "keras.utils.get_file": lambda path: named(
        "keras.utils", "get_file", {"fname": str(path), "origin": f"file://{path.parent}/entry"}
    ),
    "func_load": lambda path: named("keras.src.utils.python_utils", "func_load"),
    "enable_unsafe": lambda path: function("enable_unsafe_deserialization", "keras.config"),
    "keras.callbacks.CSVLogger": lambda path: named(
        "keras.callbacks", "CSVLogger", {"filename": str(path)}
    ),
    "zoo.entries.entry.read": lambda path: function("read", "zoo.entries.entry"),
    "os.FiLM": lambda path: named("os", "FiLM", registered_name="mtl_keras>FiLM"),
    "mtl_keras.layers.film.system": lambda path: named(
        "mtl_keras.layers.film", "system", registered_name="mtl_keras>FiLM"
    ),
    "elsewhere.Trap": lambda path: named("elsewhere", "Trap", registered_name="elsewhere>Trap"),
    "keras.layers.Trap": lambda path: named(
        "keras.layers", "Trap", registered_name="elsewhere>Trap"
    ),
    "keras.layers.Dense": lambda path: named(
        "keras.layers", "Dense", {"units": 1}, registered_name="elsewhere>Trap"
    ),
    "mtl_keras.traps.Disguised": lambda path: named(
        "mtl_keras.traps", "Disguised", registered_name="mtl_keras>Disguised"
    ),
    "'elsewhere>Trap'": lambda path: "elsewhere>Trap",
    "keras.ops.numpy.system": lambda path: named("keras.ops.numpy", "system"),
    "keras.src.ops.numpy.os": lambda path: named("keras.src.ops.numpy", "os"),
    "keras.src.models.model.Model": lambda path: named("keras.src.models.model", "Model"),
    "['system']": lambda path: named("os", ["system"]),
    "None": lambda path: named("keras.layers", None),
    "{'a': 1}": lambda path: named({"a": 1}, "Dense"),
    "keras.layers.None": lambda path: named("keras.layers", None, registered_name=["Dense"]),
}


def _without_module(path):
    """As Keras 2 wrote it, which Keras reads on another way."""
    code = lambda_layer(path)["config"]["function"]
    code = code.get("config", code)
    config = {"name": "evil", "function": code, "function_type": "lambda", "arguments": {}}
    return {"config": config}


@pytest.mark.parametrize("said", PAYLOADS)
def test_a_payload_is_refused(said, folder, marker, monkeypatch):
    monkeypatch.setattr(Trap, "marker", marker)
    payload = PAYLOADS[said](marker)

    def put(config):
        layer_of(config, "trunk_0")["config"]["activation"] = payload

    change_architecture(folder, put)
    refused(folder, "nothing of it was executed", said)


@pytest.mark.parametrize("said", ["os.system", "Lambda", "__lambda__", "elsewhere.Trap"])
def test_a_payload_is_refused_when_keras_itself_allows_all(said, folder, marker, monkeypatch):
    monkeypatch.setattr(Trap, "marker", marker)
    write_json(folder, PAYLOADS[said](marker), ARCHITECTURE)

    def load():
        keras.config.enable_unsafe_deserialization()
        refused(folder, said)

    # Which Keras keeps by thread, and has no way to take back.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(load).result()


def test_the_payloads_are_alive(tmp_path, monkeypatch):
    """Or the tests above would prove nothing."""
    for make in (
        lambda path: keras.saving.deserialize_keras_object(lambda_layer(path), safe_mode=False)(X),
        lambda path: pickle.loads(pickle.dumps(Bomb(path))),
        lambda path: keras.saving.deserialize_keras_object(
            named("elsewhere", "Trap", registered_name="elsewhere>Trap")
        ),
        lambda path: keras.layers.Dense(1, kernel_initializer="elsewhere>Trap"),
    ):
        path = tmp_path / "executed"
        monkeypatch.setattr(Trap, "marker", path)
        make(path)
        assert path.exists()
        path.unlink()


def in_layer(key):
    def put(config, payload):
        layer_of(config, "trunk_0")["config"][key] = payload

    return put


def as_layer(config, payload):
    layers = config["config"]["layers"]
    place = next(i for i, layer in enumerate(layers) if layer["name"] == "trunk")
    kept = {key: layers[place][key] for key in ("name", "inbound_nodes")}
    layers[place] = payload | kept


def in_node(key):
    def put(config, payload):
        node = layer_of(config, "trunk")["inbound_nodes"][0]
        node[key] = [payload] if key == "args" else {"mask": payload}

    return put


def in_compile(*keys):
    def put(config, payload):
        place = config["compile_config"]
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = payload

    return put


def in_task(key):
    def put(config, payload):
        config["config"]["tasks"][0]["config"][key] = payload

    return put


def in_wrapper(config, payload):
    inner = layer_of(config, "trunk")
    inner["config"]["layers"][1] = named(
        "keras.layers", "TimeDistributed", {"name": "outer", "layer": payload}, registered_name=None
    )


PLACES = {
    "the whole": lambda config, payload: config.clear() or config.update(payload),
    "a layer": as_layer,
    "an inner layer": in_wrapper,
    "its initializer": in_layer("kernel_initializer"),
    "its regularizer": in_layer("activity_regularizer"),
    "its constraint": in_layer("bias_constraint"),
    "its dtype": in_layer("dtype"),
    "an argument that it has not": in_layer("unheard_of"),
    "its build config": lambda config, payload: layer_of(config, "trunk_0").update(
        build_config={"input_shape": payload}
    ),
    "the compile config of a part": lambda config, payload: layer_of(config, "trunk").update(
        compile_config={"optimizer": payload}
    ),
    "an argument of a call": in_node("args"),
    "a named argument of a call": in_node("kwargs"),
    "the optimizer": in_compile("optimizer"),
    "its schedule": in_compile("optimizer", "config", "learning_rate"),
    "the metrics": in_compile("metrics"),
    "the balancer": in_compile("balancer"),
    "the penalties": in_compile("sharing"),
    "a task": lambda config, payload: config["config"]["tasks"].append(payload),
    "its loss": in_task("loss"),
    "its head": in_task("head"),
    "its class weights": in_task("class_weight"),
    "the output layers": lambda config, payload: config["config"].update(output_layers=payload),
    "a key beside all": lambda config, payload: config.update(unheard_of=payload),
    "a list in a list": lambda config, payload: config["config"].update(x=[[[payload]]]),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_payload_is_refused_wherever_it_is(place, folder, marker):
    change_architecture(folder, lambda config: PLACES[place](config, lambda_layer(marker)))
    refused(folder, "'keras.layers.Lambda'")


@pytest.mark.parametrize("layer", ["StringLookup", "IntegerLookup", "TextVectorization"])
def test_a_vocabulary_is_no_path(layer, folder, tmp_path):
    (tmp_path / "words.txt").write_text("secret\n")
    config = {"name": "lookup", "vocabulary": str(tmp_path / "words.txt")}
    place = named("keras.layers", layer, config, registered_name=None)
    change_architecture(folder, lambda config: as_layer(config, place))
    refused(folder, "words.txt")


def test_no_layer_that_is_allowed_takes_code_or_files():
    """What Keras adds in later versions is looked at before it is let in."""
    import inspect

    suspicious = {"fn", "func", "function", "module", "path", "filepath", "file", "filename", "url"}
    looked_at = {"MeanMetricWrapper"}  # Its function is held against the known ones.
    for place in architecture._MODULES:
        names = dir(_public(place))
        for name in (name for name in names if architecture._is_keras(place, name)):
            taken = inspect.signature(getattr(_public(place), name).__init__).parameters
            words = {word for parameter in taken for word in parameter.split("_")}
            assert name in looked_at or not words & suspicious, (place, name)


def _public(place):
    found = keras
    for part in place.split(".")[1:]:
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("name", ["relu", "gelu", "binary_crossentropy", "mtl_keras>unit_length"])
def test_functions_that_compute_are_known(name):
    architecture.check_config(function(name, registered_name="function"))


# -- an architecture that makes no sense


def test_nesting_without_end(folder):
    deep = 100_000
    for opening, closing in ("[]", ('{"config":', "}")):
        text = opening * deep + "1" + closing * deep
        (folder / ARCHITECTURE).write_text(text)
        rehash(folder)
        refused(folder, ARCHITECTURE, "not JSON")


def test_nesting_that_json_can_read(folder):
    def nest(config):
        for _ in range(400):
            config["config"] = {"config": config["config"], "x": [[config["config"]["name"]]]}
            config["config"]["name"] = "deep"

    change_architecture(folder, nest)
    refused(folder, ARCHITECTURE)


def test_a_huge_architecture(folder, monkeypatch):
    monkeypatch.setattr(manifest, "LARGEST", 10_000)
    (folder / ARCHITECTURE).write_text(" " * 10_001)
    rehash(folder)
    refused(folder, ARCHITECTURE, "at most 10,000 bytes")


@pytest.mark.parametrize(
    "text", ["", "{", "[1, 2", "\x00", "7" * 5000, '{"a": 1} {"b": 2}', "\ud800", "NaN,"]
)
def test_an_architecture_that_is_not_json(text, folder):
    (folder / ARCHITECTURE).write_bytes(text.encode("utf-8", "surrogatepass") or b" ")
    rehash(folder)
    refused(folder, ARCHITECTURE, "not JSON")


def test_an_architecture_that_is_no_multi_task_model(folder):
    plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    for content in (json.loads(plain.to_json()), [], "mtl_keras>MultiTaskModel", None, 3, {}):
        write_json(folder, content, ARCHITECTURE)
        refused(folder, ARCHITECTURE)


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config.pop("config"),
        lambda config: config["config"].pop("layers"),
        lambda config: config["config"].pop("tasks"),
        lambda config: config["config"]["tasks"].pop(),
        lambda config: config["config"]["layers"].pop(),
        lambda config: config["config"].update(output_layers={}),
        lambda config: config["config"].update(input_layers=["nowhere", 0, 0]),
        lambda config: layer_of(config, "trunk_0")["config"].update(units="eight"),
        lambda config: layer_of(config, "trunk_0")["config"].update(activation="unheard_of"),
        lambda config: layer_of(config, "features")["config"].update(batch_shape=[None, "NaN"]),
        lambda config: layer_of(config, "features")["config"].update(batch_shape=[None, -4]),
        lambda config: layer_of(config, "features")["config"].update(dtype="unheard_of"),
        lambda config: config["compile_config"].update(optimizer="unheard_of"),
        lambda config: config["compile_config"].update(unheard_of=1),
        lambda config: config["config"]["tasks"][0]["config"].update(name="price"),
        lambda config: config["config"]["tasks"][0]["config"].update(loss="unheard_of"),
    ],
)
def test_an_architecture_that_cannot_be_built(change, folder):
    change_architecture(folder, change)
    refused(folder, ARCHITECTURE)


def test_a_graph_in_a_circle(folder):
    def close(config):
        tensor = layer_of(config, "trunk")["inbound_nodes"][0]["args"][0]["config"]
        tensor["keras_history"] = ["clicked", 0, 0]

    change_architecture(folder, close)
    refused(folder, ARCHITECTURE, "cannot be built")


def enlarged(config):
    trunk = layer_of(config, "trunk")
    layer_of(config, "trunk_0")["config"]["units"] = 10**12
    layer_of(config, "trunk_0").pop("build_config")
    for place in (trunk["config"], trunk):
        place.pop("build_input_shape", None), place.pop("build_config", None)
    for task in ("clicked", "bought", "price"):
        head = layer_of(config, task)
        head.pop("build_config")
        head["inbound_nodes"][0]["args"][0]["config"]["shape"] = [None, 10**12]


def test_a_model_larger_than_any_memory_is_never_made(folder):
    """Its variables differ from the manifest's, which is seen before there are any."""
    change_architecture(folder, enlarged)
    refused(folder, BOUGHT, "[1000000000000, 1]", "in the manifest")


def test_a_manifest_that_knows_of_the_large_model(folder):
    def enlarge(manifest):
        variables = manifest["variables"]
        variables[TRUNK] = {
            KERNEL: {"shape": [4, 10**12], "dtype": "float32"},
            "trunk/trunk_0/bias": {"shape": [10**12], "dtype": "float32"},
        }
        for task in ("clicked", "bought", "price"):
            variables[f"heads/{task}.weights.h5"][f"{task}/kernel"]["shape"] = [10**12, 1]

    change_architecture(folder, enlarged)
    change_manifest(folder, enlarge)
    refused(folder, "20,000,000,000,000 bytes", TRUNK)


# -- weight files


def replaced(key, **options):
    def change(file):
        del file[key]
        file.create_dataset(key, **options)

    return change


WEIGHTS = {
    "a key more": (lambda file: file.create_dataset("more", data=np.ones(2)), "['more']"),
    "a group more": (lambda file: file.create_group("trunk/more"), "['more']"),
    "a key less": (lambda file: file.pop(KERNEL), "['kernel']"),
    "a group less": (lambda file: file.pop("trunk"), "['trunk']"),
    "another name": (lambda file: file.move(KERNEL, "trunk/trunk_0/kern"), "['kern']"),
    "a name in capitals": (lambda file: file.move(KERNEL, "trunk/trunk_0/Kernel"), "['Kernel']"),
    "another shape": (replaced(KERNEL, data=np.ones((8, 4), "float32")), "[8, 4]"),
    "an axis more": (replaced(KERNEL, data=np.ones((4, 8, 1), "float32")), "[4, 8, 1]"),
    "an empty array": (replaced(KERNEL, data=np.ones((0, 8), "float32")), "[0, 8]"),
    "another type": (replaced(KERNEL, data=np.ones((4, 8), "float64")), "float64"),
    "whole numbers": (replaced(KERNEL, data=np.ones((4, 8), "int32")), "int32"),
    "the other end first": (replaced(KERNEL, data=np.ones((4, 8), ">f4")), ">f4"),
    "complex numbers": (replaced(KERNEL, data=np.ones((4, 8), "complex64")), "complex64"),
    "records": (replaced(KERNEL, data=np.zeros((4, 8), [("a", "f4")])), "a"),
    "texts": (replaced(KERNEL, data=[["a"] * 8] * 4), "object"),
    "pickles": (
        replaced(
            KERNEL,
            data=np.full((4, 8), np.void(pickle.dumps(Bomb("executed")))),
        ),
        "|V",
    ),
    "references": (
        lambda file: replaced(KERNEL, data=np.full((4, 8), file.ref, object), dtype=h5py.ref_dtype)(
            file
        ),
        "object",
    ),
    "a missing number": (
        lambda file: file[KERNEL].write_direct(np.full((4, 8), np.nan, "float32")),
        "finite",
    ),
    "an infinite number": (lambda file: file[KERNEL].__setitem__((0, 0), -np.inf), "finite"),
    "a soft link": (
        lambda file: (file.move(KERNEL, "x"), file.__setitem__(KERNEL, h5py.SoftLink("/x"))),
        "['x']",
    ),
    "a link in place": (
        lambda file: (
            file.pop(KERNEL),
            file.__setitem__(KERNEL, h5py.SoftLink("/trunk/trunk_0/bias")),
        ),
        "a link",
    ),
    "a link to another file": (
        lambda file: (
            file.pop(KERNEL),
            file.__setitem__(KERNEL, h5py.ExternalLink("heads/price.weights.h5", "price/kernel")),
        ),
        "a link",
    ),
    "a link to nowhere": (
        lambda file: (file.pop("trunk"), file.__setitem__("trunk", h5py.SoftLink("/nowhere"))),
        "a link",
    ),
    "a group in place of an array": (
        lambda file: (file.pop(KERNEL), file.create_group(KERNEL)),
        "HDF5 group",
    ),
    "an array in place of a group": (
        lambda file: (file.pop("trunk"), file.create_dataset("trunk", data=1.0)),
        "HDF5 dataset",
    ),
    "a type in place of an array": (
        lambda file: (file.pop(KERNEL), file.__setitem__(KERNEL, np.dtype("f4"))),
        "HDF5 named type",
    ),
    "an array without a shape": (
        replaced(KERNEL, data=h5py.Empty("f4")),
        "no complete HDF5 file",
    ),
    "compressed arrays": (
        replaced(KERNEL, data=np.ones((4, 8), "float32"), compression="gzip"),
        "not compressed",
    ),
    "arrays in pieces": (
        replaced(KERNEL, data=np.ones((4, 8), "float32"), chunks=(2, 2)),
        "in one piece",
    ),
}


@pytest.mark.parametrize("damage", WEIGHTS)
def test_weights_that_are_not_as_they_should_be(damage, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    change, said = WEIGHTS[damage]
    change_weights(folder, TRUNK, change)
    refused(folder, TRUNK, said)
    assert not (tmp_path / "executed").exists()


def test_weights_in_another_file(folder, tmp_path):
    np.ones((4, 8), "float32").tofile(tmp_path / "outside")
    outside = [(str(tmp_path / "outside"), 0, 128)]
    change = replaced(KERNEL, shape=(4, 8), dtype="float32", external=outside)
    change_weights(folder, TRUNK, change)
    refused(folder, TRUNK, "itself", KERNEL)


def test_weights_put_together_of_other_files(folder, tmp_path):
    with h5py.File(tmp_path / "outside.h5", "w") as file:
        file["secret"] = np.ones((4, 8), "float32")
    layout = h5py.VirtualLayout((4, 8), "float32")
    layout[:] = h5py.VirtualSource(tmp_path / "outside.h5", "secret", (4, 8))

    def change(file):
        del file[KERNEL]
        file.create_virtual_dataset(KERNEL, layout)

    change_weights(folder, TRUNK, change)
    refused(folder, TRUNK, "itself", KERNEL)


@pytest.mark.parametrize("width", [1, 2])
def test_groups_in_a_circle(width, folder):
    """With two ways round, there are more paths than can be walked."""

    def close(file):
        group = file.create_group("trunk/trunk_0/inner")
        for i in range(width):
            group[f"way_{i}"] = file["trunk"]
            file["trunk"][f"way_{i}"] = file["trunk"]

    change_weights(folder, TRUNK, close)
    refused(folder, TRUNK, "with unknown ['way_0'")


def test_a_ladder_of_groups(folder):
    """Forty groups, each with two names in the one above: 2 ** 40 paths."""

    def build(file):
        below = file.create_group("trunk/trunk_0/last")
        for i in range(40):
            group = file.create_group(f"ladder/{i}")
            group["a"], group["b"] = below, below
            below = group
        file["trunk/trunk_0/top"] = below
        del file["ladder"]

    change_weights(folder, TRUNK, build)
    refused(folder, TRUNK, "['last', 'top']")


def test_a_file_that_is_cut_off(folder):
    content = (folder / TRUNK).read_bytes()
    for kept in (len(content) - 1, len(content) // 2, 600, 8, 1):
        (folder / TRUNK).write_bytes(content[:kept])
        rehash(folder)
        refused(folder, TRUNK)


def test_bytes_that_were_changed(folder):
    """Wherever it is, and whatever the library makes of it: refused, or harmless."""
    content = (folder / TRUNK).read_bytes()
    draw = np.random.default_rng(0)
    for place in draw.integers(0, len(content), 25):
        changed = bytearray(content)
        changed[place] ^= 1 << int(draw.integers(8))
        (folder / TRUNK).write_bytes(changed)
        refused(folder, TRUNK, "SHA-256")
        rehash(folder)
        try:
            zoo.load(folder)
        except BadEntryError as error:
            assert TRUNK in str(error)


def test_a_file_that_is_something_else(folder, tmp_path):
    (folder / TRUNK).write_bytes(pickle.dumps(Bomb(tmp_path / "executed")) * 10)
    rehash(folder)
    refused(folder, TRUNK, "no complete HDF5 file")
    with zipfile.ZipFile(folder / TRUNK, "w") as archive:
        archive.writestr("../escaped", "x" * 500)
    rehash(folder)
    refused(folder, TRUNK, "no complete HDF5 file")
    assert not list(tmp_path.glob("e[sx]*"))


def test_arrays_that_were_never_written(folder):
    """The library makes up their content: much memory out of a small file."""
    shape = {"shape": [4, 10**9], "dtype": "float32"}

    def change(file):
        del file[KERNEL]
        file.create_dataset(KERNEL, (4, 10**9), "float32")

    change_weights(folder, TRUNK, change)
    change_manifest(folder, lambda manifest: manifest["variables"][TRUNK].update({KERNEL: shape}))
    refused(folder, TRUNK, "16,000,000,032 bytes")


def test_two_heads_whose_files_were_exchanged(folder):
    (folder / CLICKED).rename(folder / "x")
    (folder / BOUGHT).rename(folder / CLICKED)
    (folder / "x").rename(folder / BOUGHT)
    refused(folder, "SHA-256", BOUGHT)
    rehash(folder)
    refused(folder, BOUGHT, "clicked")


def test_two_heads_whose_arrays_were_exchanged(folder):
    """Which no name can tell: the golden output does."""
    weights = {}
    for name in (CLICKED, BOUGHT):
        task = Path(name).name.partition(".")[0]
        with h5py.File(folder / name, "r") as file:
            weights[name] = {key: file[f"{task}/{key}"][()] for key in ("kernel", "bias")}
    for name, other in ((CLICKED, BOUGHT), (BOUGHT, CLICKED)):
        task = Path(name).name.partition(".")[0]

        def change(file, task=task, other=other):
            for key, values in weights[other].items():
                file[f"{task}/{key}"][...] = values

        change_weights(folder, name, change)
    zoo.load(folder)
    refused(folder, "golden output of '", "a difference of", load=zoo.verify)


# -- the manifest


def written(content):
    def change(folder):
        content_of = content.encode() if isinstance(content, str) else content
        (folder / MANIFEST).write_bytes(content_of)

    return change


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b"7" * 5000, b'"', b"{'a': 1}"]
)
def test_a_manifest_that_is_not_json(content, folder):
    (folder / MANIFEST).write_bytes(content)
    refused(folder, "not JSON", "manifest")


def test_a_huge_manifest(folder, monkeypatch):
    monkeypatch.setattr(manifest, "LARGEST", 100)
    refused(folder, MANIFEST, "at most 100 bytes")


def updated(*keys, to):
    def change(manifest):
        place = manifest
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = to

    return change


def without(*keys):
    def change(manifest):
        place = manifest
        for key in keys[:-1]:
            place = place[key]
        del place[keys[-1]]

    return change


DIGEST = {"sha256": "0" * 64, "bytes": 5}
VARIABLE = {"shape": [2], "dtype": "float32"}
MANIFESTS = {
    "nothing": (lambda manifest: manifest.clear(), "required"),
    "an unknown key": (updated("evil", to=1), "evil"),
    "no schema": (without("schema"), "schema"),
    "an old schema": (updated("schema", to=0), "schema"),
    "a schema in words": (updated("schema", to="1"), "schema"),
    "a newer schema": (updated("schema", to=2), "schema 2"),
    "a newer schema with more in it": (
        lambda manifest: manifest.update(schema=3, more=1),
        "pip install -U mtl-keras",
    ),
    "a newer Keras": (updated("requires", "keras", to="99.1"), "Keras 99.1 or newer"),
    "no Keras": (updated("requires", "keras", to="new"), "requires/keras"),
    "no tasks": (updated("tasks", to=[]), "tasks"),
    "a task less": (lambda manifest: manifest["tasks"].pop(), "price"),
    "a task twice": (
        lambda manifest: manifest["tasks"].append(manifest["tasks"][0]),
        "['clicked', 'bought', 'price', 'clicked']",
    ),
    "another name of a task": (updated("tasks", 0, "name", to="seen"), "seen"),
    "another kind of task": (updated("tasks", 0, "kind", to="RegressionTask"), "tasks"),
    "another score": (updated("tasks", 2, "direction", to="max"), "tasks"),
    "another order": (lambda manifest: manifest["tasks"].reverse(), "tasks"),
    "a path as task": (updated("tasks", 0, "name", to="../clicked"), "tasks/0/name"),
    "another input": (updated("inputs", 0, "name", to="other"), "features"),
    "an input more": (
        lambda manifest: manifest["inputs"].append(manifest["inputs"][0] | {"name": "more"}),
        "more",
    ),
    "another shape of input": (updated("inputs", 0, "shape", to=[5]), "features"),
    "another type of input": (updated("inputs", 0, "dtype", to="string"), "features"),
    "no trunk": (without("files", TRUNK), TRUNK),
    "no architecture": (without("files", ARCHITECTURE), ARCHITECTURE),
    "a head whose digest is not there": (without("files", CLICKED), CLICKED),
    "a file that is nobody's": (updated("files", "heads/x.weights.h5", to=DIGEST), "heads/x"),
    "another digest": (updated("files", TRUNK, "sha256", to="0" * 64), "0" * 64),
    "no digest": (updated("files", TRUNK, "sha256", to="0"), f"files/{TRUNK}/sha256"),
    "another size": (updated("files", TRUNK, "bytes", to=5), "5 bytes"),
    "a size below zero": (updated("files", TRUNK, "bytes", to=-5), f"files/{TRUNK}/bytes"),
    "a head without variables": (without("variables", CLICKED), CLICKED),
    "a trunk without variables": (updated("variables", TRUNK, to={}), TRUNK),
    "a variable less": (without("variables", TRUNK, KERNEL), KERNEL),
    "a variable more": (updated("variables", TRUNK, "trunk/more", to=VARIABLE), "trunk/more"),
    "another shape": (updated("variables", TRUNK, KERNEL, "shape", to=[8, 4]), "[8, 4]"),
    "another type": (updated("variables", TRUNK, KERNEL, "dtype", to="float16"), "float16"),
    "objects": (updated("variables", TRUNK, KERNEL, "dtype", to="object"), "object"),
    "a shape below zero": (updated("variables", TRUNK, KERNEL, "shape", to=[-4, 8]), "-4"),
    "a shape that is no number": (
        updated("variables", TRUNK, KERNEL, "shape", to=[float("nan"), 8]),
        "shape",
    ),
    "licences of several lines": (updated("licences", "data", to="a\nb"), "licences/data"),
    "published figures of nothing": (updated("published", to=[]), "results"),
    "names of fewer classes": (updated("classes", to={"clicked": []}), "1 of 'clicked'"),
    "names of classes of nothing": (updated("classes", to={"other": ["a"]}), "0 of 'other'"),
    "no golden input": (updated("golden", "input", to={}), "golden input"),
    "a golden input of another name": (
        updated("golden", "input", to={"other": [1]}),
        "golden input",
    ),
    "a golden output less": (without("golden", "output", "price"), "golden output"),
    "a golden output more": (updated("golden", "output", "more", to=[1]), "golden output"),
}


@pytest.mark.parametrize("lie", MANIFESTS)
def test_a_manifest_that_lies(lie, folder):
    change, said = MANIFESTS[lie]
    change_manifest(folder, change)
    refused(folder, said, load=zoo.verify)


DEEP = json.loads("[" * 90 + "1" + "]" * 90)
GOLDEN = {
    "other answers": (updated("golden", "output", "price", 0, 0, to=9.0), "a difference of"),
    "answers a little off": (
        lambda manifest: manifest["golden"]["output"]["clicked"][0].__setitem__(
            0, manifest["golden"]["output"]["clicked"][0][0] + 3e-5
        ),
        "golden output of 'clicked'",
    ),
    "no numbers": (updated("golden", "output", "price", 0, 0, to=float("nan")), "nan"),
    "words": (updated("golden", "output", "price", 0, 0, to="high"), "high"),
    "fewer rows": (lambda manifest: manifest["golden"]["output"]["price"].pop(), "(3, 1)"),
    "no rows": (updated("golden", "output", "price", to=[]), "non-empty"),
    "deep rows": (updated("golden", "output", "price", to=[DEEP]), "arrays"),
    "another input": (updated("golden", "input", "features", 0, to=[0.0] * 4), "a difference of"),
    "a short input": (updated("golden", "input", "features", to=[[0.0]] * 4), "take"),
    "a ragged input": (updated("golden", "input", "features", 0, to=[0.0]), "arrays of float32"),
    "an input of words": (updated("golden", "input", "features", to=["a"] * 4), "float32"),
    "an input without rows": (updated("golden", "input", "features", to=[]), "golden"),
    "a single number": (updated("golden", "input", "features", to=1.0), "golden"),
    "null": (updated("golden", "input", "features", to=None), "golden"),
}


@pytest.mark.parametrize("lie", GOLDEN)
def test_a_golden_pair_that_lies(lie, folder):
    change, said = GOLDEN[lie]
    change_manifest(folder, change)
    refused(folder, said, load=zoo.verify)


# -- files that are not the entry's


@pytest.mark.parametrize(
    "name",
    [
        "../secret",
        "/etc/hostname",
        "heads/../../secret",
        "heads/..",
        "heads\\x.weights.h5",
        "..\\trunk.weights.h5",
        "heads//x.weights.h5",
        "heads/./x.weights.h5",
        "heads/a/b.weights.h5",
        "heads/x.weights.h5\n",
        "heads/x.weights.h5\x00",
        "trunk.weights.h5/",
        "./trunk.weights.h5",
        "C:trunk.weights.h5",
        "file:///etc/hostname",
        "README.md",
        "manifest.json",
        "evil.py",
        "",
    ],
)
@pytest.mark.parametrize("section", ["files", "variables"])
def test_names_that_are_no_files_of_an_entry(name, section, folder):
    value = DIGEST if section == "files" else {}
    change_manifest(folder, lambda manifest: manifest[section].update({name: value}))
    refused(folder, "does not follow the schema", section)


def linked(path, target):
    shutil.move(path, target)
    path.symlink_to(target, target_is_directory=target.is_dir())


@pytest.mark.parametrize("name", [MANIFEST, ARCHITECTURE, TRUNK, CLICKED, "heads"])
def test_files_that_are_links(name, folder, tmp_path):
    linked(folder / name, tmp_path / "outside")
    refused(folder, "links", name)


def test_a_link_to_the_whole_folder_is_the_users_own(whole, tmp_path):
    (tmp_path / "latest").symlink_to(whole, target_is_directory=True)
    zoo.load(tmp_path / "latest")
    zoo.verify(tmp_path / "latest")


@pytest.mark.parametrize("name", [ARCHITECTURE, TRUNK, CLICKED])
def test_files_that_are_missing(name, folder):
    (folder / name).unlink()
    refused(folder, name, "not there")
    (folder / name).mkdir()
    refused(folder, name, "not there")


def test_no_entry_at_all(tmp_path):
    for name in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match=r"manifest\.json.*" + name.name):
            zoo.load(name)


def test_files_beside_the_entry_are_left_alone(folder, tmp_path):
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')")
    (folder / "__init__.py").write_text((folder / "evil.py").read_text())
    (folder / "heads" / "more.weights.h5").write_bytes(b"x")
    zoo.load(folder)
    assert not (tmp_path / "executed").exists()


def test_a_card_that_says_something_else(folder):
    page = folder / "README.md"
    page.write_text(page.read_text("utf-8").replace("none stated", "public domain"), "utf-8")
    refused(folder, "README.md", load=zoo.verify)
    page.unlink()
    zoo.verify(folder)


def test_nothing_is_fetched(folder, monkeypatch, marker):
    import socket

    def refuse(*arguments, **options):
        raise AssertionError("the network was touched")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    zoo.verify(folder)
    assert read_json(folder)["schema"] == manifest.SCHEMA
