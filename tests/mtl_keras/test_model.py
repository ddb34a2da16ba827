import keras
import numpy as np
import pytest

import mtl_keras as mtl

NAN = float("nan")


def draw(rows=64, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 5)).astype("float32")
    noise = 0.1 * rng.normal(size=rows).astype("float32")
    return x, {"clicked": (x[:, 0] > 0).astype("float32"), "price": x[:, 1] - x[:, 0] + noise}


def build(tasks=None, regularizer=None, **options):
    tasks = tasks or [mtl.BinaryTask("clicked"), mtl.RegressionTask("price")]
    x = keras.Input((5,), name="x")
    trunk = keras.layers.Dense(8, "relu", name="trunk", kernel_regularizer=regularizer)
    features = trunk(x)
    model = mtl.MultiTaskModel(
        x, {task.name: task.build_head()(features) for task in tasks}, tasks=tasks
    )
    model.compile(options.pop("optimizer", "adam"), **options)
    return model


def weights(model):
    return [keras.ops.convert_to_numpy(variable) for variable in model.trainable_variables]


def twin(model, **options):
    """The same network, compiled in the same way, with the same weights."""
    copy = build(model.tasks, **options)
    copy.set_weights(model.get_weights())
    return copy


# -- what a step does


@pytest.mark.parametrize("regularizer", [None, keras.regularizers.L2(0.1)])
def test_with_every_label_a_step_is_that_of_plain_keras(regularizer):
    x, y = draw()
    sample_weight = np.random.default_rng(1).uniform(size=64).astype("float32")
    ours = build(regularizer=regularizer, optimizer="sgd", loss_weights={"price": 0.3})
    plain = keras.Model(ours.input, ours.output)
    plain = keras.models.clone_model(plain)
    plain.set_weights(ours.get_weights())
    plain.compile(
        "sgd",
        loss={
            "clicked": keras.losses.BinaryCrossentropy(),
            "price": keras.losses.MeanSquaredError(),
        },
        loss_weights={"clicked": 1.0, "price": 0.3},
    )
    expected = plain.train_on_batch(x, y, sample_weight=sample_weight, return_dict=True)
    found = ours.train_on_batch(x, y, sample_weight=sample_weight, return_dict=True)
    for key in ("loss", "clicked_loss", "price_loss"):
        assert found[key] == pytest.approx(expected[key], rel=1e-6), key
    for a, b in zip(weights(ours), weights(plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("garbage", [NAN, -1.0])
def test_what_stands_in_missing_rows_changes_no_bit(garbage):
    x, y = draw()
    missing = np.random.default_rng(2).uniform(size=64) < 0.5
    tasks = [mtl.BinaryTask("clicked", missing_value=-1), mtl.RegressionTask("price")]
    clean = build(tasks)
    dirty = twin(clean)
    clean.train_on_batch(x, y | {"clicked": np.where(missing, NAN, y["clicked"])})
    dirty.train_on_batch(x, y | {"clicked": np.where(missing, garbage, y["clicked"])})
    for a, b in zip(weights(clean), weights(dirty), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_other_tasks_gradient_is_bit_equal_without_the_missing_task():
    """All labels of one task missing: the step is that of the other task alone."""
    x, y = draw()
    both = build(optimizer="sgd")
    other = twin(both, optimizer="sgd", loss_weights={"clicked": 0.0})
    both.train_on_batch(x, y | {"clicked": np.full(64, NAN)})
    other.train_on_batch(x, y)
    for a, b in zip(weights(both), weights(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_losses_are_public_in_task_order_and_weighted():
    x, y = draw()
    model = build(loss_weights={"price": 0.5})
    losses = model.compute_task_losses(x, y)
    assert list(losses) == ["clicked", "price"]
    logs = model.test_on_batch(x, y, return_dict=True)
    assert float(losses["clicked"]) == pytest.approx(logs["clicked_loss"], rel=1e-6)
    assert float(losses["price"]) == pytest.approx(0.5 * logs["price_loss"], rel=1e-6)
    assert float(model.compute_task_losses(x, {"price": y["price"]})["clicked"]) == 0.0


def test_reported_loss_is_over_all_labels_of_the_epoch_however_they_are_spread():
    x, y = draw()
    y["price"][:30] = NAN
    model = build()
    whole = model.evaluate(x, y, batch_size=64, return_dict=True, verbose=0)
    small = model.evaluate(x, y, batch_size=10, return_dict=True, verbose=0)
    for key in ("price_loss", "price_mae", "price_labels", "clicked_loss", "score"):
        assert small[key] == pytest.approx(whole[key], rel=1e-5), key
    assert whole["price_labels"] == 34


def test_class_weights_change_the_loss_and_not_the_metric():
    x, y = draw()
    plain, weighted = (build([mtl.BinaryTask("clicked", class_weight=c)]) for c in (None, {1: 5.0}))
    weighted.set_weights(plain.get_weights())
    a, b = (m.test_on_batch(x, y["clicked"], return_dict=True) for m in (plain, weighted))
    assert b["clicked_loss"] > a["clicked_loss"]
    assert b["clicked_auc"] == a["clicked_auc"]


# -- names and arguments


def test_one_task_keeps_its_prefix():
    x, y = draw()
    logs = build([mtl.BinaryTask("clicked")]).evaluate(x, y["clicked"], return_dict=True, verbose=0)
    assert set(logs) == {"loss", "clicked_loss", "clicked_auc", "clicked_labels", "score"}


def test_compile_takes_what_keras_takes():
    x, y = draw()
    model = build(
        optimizer=keras.optimizers.SGD(0.1),
        loss={"price": "mean_absolute_error"},
        metrics={"clicked": ["accuracy"]},
        weighted_metrics={"price": [keras.metrics.MeanSquaredError(name="wmse")]},
        loss_weights=[1.0, 2.0],
    )
    logs = model.evaluate(x, y, return_dict=True, verbose=0)
    # The scoring metric stays.
    assert {"clicked_accuracy", "clicked_auc", "price_wmse", "price_mae"} <= set(logs)
    assert logs["price_loss"] == pytest.approx(logs["price_mae"], rel=1e-5)
    assert model.loss_weights == {"clicked": 1.0, "price": 2.0}


def test_weighted_metrics_see_the_sample_weights():
    x, y = draw()
    model = build(weighted_metrics={"price": [keras.metrics.MeanSquaredError(name="wmse")]})
    weight = {"price": (np.arange(64) < 10).astype("float32")}
    logs = model.evaluate(x, y, sample_weight=weight, return_dict=True, verbose=0)
    error = model.predict(x[:10], verbose=0)["price"][:, 0] - y["price"][:10]
    assert logs["price_wmse"] == pytest.approx(np.mean(error**2), rel=1e-5)


def test_score_can_be_monitored():
    x, y = draw()
    model = build(score=mtl.TaskScore({"clicked": 0.5, "price": 1.0}))
    stop = keras.callbacks.EarlyStopping("val_score", mode="max", patience=0, start_from_epoch=1)
    history = model.fit(x, y, validation_data=(x, y), epochs=3, callbacks=stop, verbose=0).history
    expected = mtl.delta_m(
        {"clicked": history["val_clicked_auc"][-1], "price": history["val_price_mae"][-1]},
        {"clicked": 0.5, "price": 1.0},
        {"clicked": "max", "price": "min"},
    )
    assert history["val_score"][-1] == pytest.approx(expected, rel=1e-4)


def test_saved_model_keeps_what_compile_was_given(tmp_path):
    x, y = draw()
    model = build(
        loss_weights={"price": 0.25},
        score=mtl.TaskScore({"clicked": 0.5, "price": 1.0}),
        weighted_metrics={"price": ["mse"]},
        steps_per_execution=1,
    )
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    first, second = (m.evaluate(x, y, return_dict=True, verbose=0) for m in (model, loaded))
    assert first == second
    assert loaded.loss_weights == {"clicked": 1.0, "price": 0.25}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss_weights": {"prize": 1.0}}, r"`loss_weights`.*Received.*'prize'"),
        ({"loss_weights": {"price": -1.0}}, r"`loss_weights\['price'\]`.*Received"),
        ({"loss_weights": [1.0]}, r"`loss_weights`.*Received"),
        ({"metrics": {"prize": ["mae"]}}, r"`metrics`.*Received.*'prize'"),
        ({"metrics": {"price": ["mae", "mae"]}}, r"different log keys.*price_mae"),
        ({"score": mtl.TaskScore({"price": 1.0})}, r"`baselines`.*Received"),
    ],
)
def test_compile_names_what_is_wrong(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_outputs_and_tasks_must_go_together():
    x = keras.Input((5,))
    task = mtl.BinaryTask("clicked")
    with pytest.raises(ValueError, match=r"`outputs`.*clicked.*Received.*price"):
        mtl.MultiTaskModel(x, {"price": task.build_head()(x)}, tasks=[task])
    with pytest.raises(ValueError, match=r"'clicked'.*1 wide.*Received"):
        mtl.MultiTaskModel(x, {"clicked": keras.layers.Dense(3)(x)}, tasks=[task])


def test_a_model_that_is_not_compiled_says_so():
    model = build()
    bare = mtl.MultiTaskModel(model.input, model.output, tasks=model.tasks)
    with pytest.raises(ValueError, match="compile"):
        bare.compute_task_losses(*draw())


def test_export_refuses_to_overwrite_and_leaves_nothing_half_written(tmp_path):
    if keras.backend.backend() == "torch":
        with pytest.raises(ValueError, match=r"`format`.*Received"):
            build().export(tmp_path / "served")
        return
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "mine").touch()
    with pytest.raises(FileExistsError, match=r"`path`.*Received"):
        build().export(tmp_path / "served")
    assert [p.name for p in tmp_path.iterdir()] == ["served"]


# -- bad data


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clicked": -1.0}, r"'clicked'.*0 to 1.*Received.*below.*step 1 of `fit`, epoch 1"),
        ({"clicked": 2.0}, r"'clicked'.*Received.*above the range"),
        ({"price": np.inf}, r"'price'.*finite.*Received"),
    ],
)
def test_a_label_outside_the_range_stops_the_fit(change, message):
    x, y = draw()
    name, value = next(iter(change.items()))
    y[name][3] = value
    model = build()
    with pytest.raises(ValueError, match=message):
        model.fit(x, y, batch_size=16, shuffle=False, verbose=0)
    with pytest.raises(ValueError, match="Received"):
        model.evaluate(x, y, verbose=0)
    with pytest.raises(ValueError, match="Received"):
        model.train_on_batch(x, y)
    # The invalid label was not trained on.
    assert all(np.isfinite(w).all() for w in weights(model))


def test_a_class_id_that_does_not_exist_stops_the_fit():
    x, _ = draw()
    model = build([mtl.CategoricalTask("shop", 3)])
    with pytest.raises(ValueError, match=r"'shop'.*0 to 2, or -1.*Received.*1 above"):
        model.fit(x, np.where(np.arange(64) == 40, 3, 1), verbose=0)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ({"clicked": np.ones((64, 3))}, r"'clicked'.*shape.*Received.*\(64, 3\)"),
        ({"clickd": np.ones(64)}, r"`y`.*Received: unknown task 'clickd'"),
        ({}, r"`y`.*at least one task.*Received"),
        (None, r"`y`.*at least one task.*Received"),
        (np.ones(64), r"`y`.*dict by task.*Received"),
    ],
)
def test_labels_of_no_task_are_refused_and_the_model_lives_on(y, message):
    x, good = draw()
    model = build()
    for use in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match=message):
            use(x, y, verbose=0)
    model.fit(x, good, verbose=0)


def test_a_task_that_never_meets_a_label_stops_the_fit():
    x, y = draw()
    with pytest.raises(ValueError, match="'price' met no label in epoch 1"):
        build().fit(x, {"clicked": y["clicked"]}, verbose=0)
    # Unless it is not to be trained.
    build(loss_weights={"price": 0.0}).fit(x, {"clicked": y["clicked"]}, verbose=0)


def test_an_evaluation_without_labels_is_nan_and_counts_none():
    x, y = draw()
    logs = build().evaluate(x, {"clicked": y["clicked"]}, return_dict=True, verbose=0)
    assert logs["price_labels"] == 0
    assert np.isnan(logs["price_loss"]) and np.isnan(logs["price_mae"])
    assert logs["score"] == pytest.approx(logs["clicked_auc"])


def test_a_loss_that_becomes_nan_names_task_and_step():
    x, y = draw()

    @keras.saving.register_keras_serializable(package="test_model")
    def breaks_at_five(y_true, y_pred):
        # A constant: a NaN that is masked in the loss would still be in the gradient.
        bad = keras.ops.where(y_true == 5, NAN, keras.ops.zeros_like(y_true))
        return keras.ops.mean(keras.ops.square(y_true - y_pred) + bad, axis=-1)

    y["price"][40] = 5.0
    model = build(loss={"price": breaks_at_five})
    with pytest.raises(ValueError, match=r"'price'.*finite.*Received: nan by step 3 of `fit`"):
        model.fit(x, y, batch_size=16, shuffle=False, verbose=0)


def test_nan_inputs_stop_the_fit_on_every_backend():
    # TensorFlow's relu makes 0 of NaN, so there it is the weights that tell.
    x, y = draw()
    x[10] = NAN
    with pytest.raises(ValueError, match=r"must be finite.*NaN"):
        build().fit(x, y, verbose=0)


def test_an_empty_data_set_is_refused():
    x, y = draw()
    for use in (build().fit, build().evaluate):
        with pytest.raises(ValueError, match="empty"):
            use(x[:0], {name: labels[:0] for name, labels in y.items()}, verbose=0)


def test_class_weight_of_fit_points_to_the_task():
    x, y = draw()
    with pytest.raises(ValueError, match=r"`class_weight` belongs to a task.*Received"):
        build().fit(x, y, class_weight={0: 1.0})


# -- every form of data


class Alternating(keras.utils.PyDataset):
    """Each batch labels one task, with weights for it."""

    def __len__(self):
        return 4

    def __getitem__(self, i):
        x, y = draw(16, seed=i)
        name = ("clicked", "price")[i % 2]
        return x, {name: y[name]}, {name: np.ones(16, "float32")}


def alternating():
    data = Alternating()
    yield from (data[i] for i in range(4))


def changing():
    x, y = draw(16)
    yield x, y
    yield x, {"clicked": y["clicked"][:, None]}
    yield x, {"price": y["price"], "clicked": None}


@pytest.mark.parametrize(
    ("data", "labels"),
    [
        (Alternating, (32, 32)),
        (alternating, (32, 32)),
        (changing, (32, 32)),
    ],
)
def test_batches_may_differ_in_the_tasks_they_label(data, labels):
    history = build().fit(data(), verbose=0).history
    assert (history["clicked_labels"][-1], history["price_labels"][-1]) == labels


def test_tf_data_with_a_task_missing_and_weights_for_one():
    import tensorflow as tf

    x, y = draw()
    model = build(loss_weights={"price": 0.0})
    data = tf.data.Dataset.from_tensor_slices(
        (x, {"clicked": y["clicked"]}, {"clicked": np.ones(64, "float32")})
    ).batch(16)
    assert model.fit(data, verbose=0).history["clicked_labels"] == [64]
    unknown = tf.data.Dataset.from_tensor_slices((x, {"clickd": y["clicked"]})).batch(16)
    with pytest.raises(ValueError, match=r"`y`.*Received: unknown task 'clickd'"):
        model.fit(unknown, verbose=0)
    wide = tf.data.Dataset.from_tensor_slices((x, {"clicked": np.ones((64, 2))})).batch(16)
    with pytest.raises(ValueError, match=r"'clicked'.*shape.*Received"):
        model.fit(wide, verbose=0)
    with pytest.raises(ValueError, match="empty"):
        model.fit(data.take(0), verbose=0)


def test_lists_follow_the_order_of_the_tasks():
    x, y = draw()
    first, second = build(), None
    second = twin(first)
    first.train_on_batch(x, y)
    second.train_on_batch(x, [y["clicked"], y["price"]], sample_weight=[np.ones(64), None])
    for a, b in zip(weights(first), weights(second), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_validation_split_works_with_labels_by_task():
    x, y = draw()
    history = build().fit(x, y, validation_split=0.25, verbose=0).history
    assert (history["price_labels"], history["val_price_labels"]) == ([48], [16])


def test_numpy_strings_are_taken_by_fit_evaluate_and_predict():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("strings need the TensorFlow backend")
    words = keras.Input((), dtype="string", name="word")
    lookup = keras.layers.StringLookup(vocabulary=["x", "y"], output_mode="one_hot")
    task = mtl.BinaryTask("clicked")
    model = mtl.MultiTaskModel(words, {"clicked": task.build_head()(lookup(words))}, tasks=[task])
    model.compile("sgd")
    for x in (np.array(["x", "y"]), np.array(["x", "y"], object), np.array([b"x", b"y"])):
        model.fit(x, np.ones(2), validation_data=(x, np.zeros(2)), verbose=0)
        model.evaluate(x, np.ones(2), verbose=0)
        assert model.predict(x, verbose=0)["clicked"].shape == (2, 1)
