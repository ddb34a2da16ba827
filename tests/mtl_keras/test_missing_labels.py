"""Half of a task's labels missing: as good as training on the labelled rows alone."""

import keras
import numpy as np
import pytest

import mtl_keras as mtl
import zoo

if keras.backend.backend() != "tensorflow":
    pytest.skip("takes a minute; the backends agree step by step", allow_module_level=True)

SEEDS = range(5)
EPOCHS = 6


@pytest.fixture(scope="module")
def census():
    """Encoded rows of real people: train and test inputs, and both tasks' labels."""
    data = zoo.datasets.load("census_income", batch_size=8000)
    inputs = {n: f for n, f in data.features.items() if isinstance(f, zoo.features.Numeric)}
    mean = np.array([f.mean for f in inputs.values()])
    scale = np.sqrt([f.variance for f in inputs.values()])

    def encode(split):
        x, y = next(iter(split))
        columns = np.stack([x[name].numpy() for name in inputs], axis=1)
        return ((columns - mean) / scale).astype("float32"), {k: v.numpy() for k, v in y.items()}

    return encode(data.train), encode(data.test)


def scores(tasks, x, y, batch_size, test_x, test_y, seed):
    keras.utils.set_random_seed(seed)
    optimizer = keras.optimizers.Adam(0.003)
    model = zoo.shared_trunk(tasks, x.shape[1], trunk=[32, 16], optimizer=optimizer)
    model.fit(x, y, epochs=EPOCHS, batch_size=batch_size, verbose=0)
    logs = model.evaluate(test_x, test_y, batch_size=4000, return_dict=True, verbose=0)
    return logs["income_loss"], logs["income_auc"]


def test_half_of_the_labels_missing_reaches_what_the_labelled_rows_give(census):
    (x, y), (test_x, test_y) = census
    income = mtl.BinaryTask("income")
    masked, alone = [], []
    for seed in SEEDS:
        missing = np.random.default_rng(seed).uniform(size=len(x)) < 0.5
        half = y | {"income": np.where(missing, np.nan, y["income"])}
        both = [income, mtl.BinaryTask("never_married")]
        masked.append(scores(both, x, half, 128, test_x, test_y, seed))
        rows = ~missing
        labels = {"income": y["income"][rows]}
        test_labels = {"income": test_y["income"]}
        # Half the batch: as many steps, and as many labelled rows in each.
        alone.append(scores([income], x[rows], labels, 64, test_x, test_labels, seed))
    (loss, auc), (alone_loss, alone_auc) = (np.array(runs).T for runs in (masked, alone))
    spread = np.ptp(alone_loss)
    print(f"loss {loss.mean():.4f} against {alone_loss.mean():.4f}, spread {spread:.4f}")
    print(f"AUC {auc.mean():.4f} against {alone_auc.mean():.4f}, spread {np.ptp(alone_auc):.4f}")
    assert loss.mean() <= alone_loss.mean() + spread
    assert auc.mean() >= alone_auc.mean() - np.ptp(alone_auc)
