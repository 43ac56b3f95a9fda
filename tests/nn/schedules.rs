//! Learning rates against PyTorch's, step by step, of two groups with rates of their own.

use crate::golden::{golden, read};
use bptt::data::{Batch, Sequences};
use bptt::nn::Sequential;
use bptt::train::{
    Callback, CosineAnnealing, CosineRestarts, Epoch, ExponentialDecay, Flow, OneCycle, Place,
    Plateau, Schedule, Sgd, StepDecay, Trainer, WarmupCosine,
};
use bptt::verify::compare;
use bptt::{Device, Result};
use ndarray::{Array2, Array3, ArrayD, arr1};
use safetensors::SafeTensors;
use std::sync::{Arc, Mutex};

const RATES: [f64; 2] = [0.1, 0.02];

fn trainer() -> Trainer {
    let model = Sequential::new(1).linear(1).linear(1);
    let model = model.build(&Device::cpu_f64(), 1).unwrap();
    let trainer = Trainer::new(model, Sgd::new(RATES[0])).group("1", Sgd::new(RATES[1]));
    trainer.build().unwrap()
}

/// The rates of a step with gradients of 1: by how much the weight of each group becomes smaller.
fn rates(trainer: &mut Trainer) -> [f64; 2] {
    let names = ["0.weight", "1.weight"];
    let weights = |trainer: &Trainer| {
        let all = trainer.model().parameters().to_arrays::<f64>().unwrap();
        names.map(|name| all[name].sum())
    };
    let before = weights(trainer);
    let ones = trainer.model().parameters().to_arrays::<f64>().unwrap();
    let ones = ones.into_iter().map(|(name, of)| (name, of.mapv(|_| 1.0)));
    trainer.apply_gradients(&ones.collect()).unwrap();
    let after = weights(trainer);
    [before[0] - after[0], before[1] - after[1]]
}

fn schedule(of: &serde_json::Value) -> Box<dyn Schedule> {
    let number = |key: &str, default: f64| of[key].as_f64().unwrap_or(default);
    let whole = |key: &str, default: u64| of[key].as_u64().unwrap_or(default);
    match of["kind"].as_str().unwrap() {
        "StepLR" => Box::new(StepDecay {
            step_size: whole("step_size", 0),
            gamma: number("gamma", 0.1),
        }),
        "ExponentialLR" => Box::new(ExponentialDecay {
            gamma: number("gamma", 0.0),
        }),
        "CosineAnnealingLR" => Box::new(CosineAnnealing {
            steps: whole("T_max", 0),
            least: number("eta_min", 0.0),
        }),
        "CosineAnnealingWarmRestarts" => Box::new(CosineRestarts {
            steps: whole("T_0", 0),
            longer: whole("T_mult", 1),
            least: number("eta_min", 0.0),
        }),
        "OneCycleLR" => {
            let cycle = OneCycle::new(number("max_lr", 0.0), whole("total_steps", 0));
            Box::new(OneCycle {
                rising: number("pct_start", cycle.rising),
                div_factor: number("div_factor", cycle.div_factor),
                final_div_factor: number("final_div_factor", cycle.final_div_factor),
                ..cycle
            })
        }
        "WarmupCosine" => Box::new(WarmupCosine {
            warmup_steps: whole("warmup_steps", 0),
            total_steps: whole("total_steps", 0),
        }),
        kind => panic!("{kind}"),
    }
}

fn configuration(key: &str) -> serde_json::Value {
    let bytes = std::fs::read(golden("schedules.safetensors")).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    serde_json::from_str(&header.metadata().as_ref().unwrap()[key]).unwrap()
}

fn as_array(rows: &[[f64; 2]]) -> ArrayD<f64> {
    Array2::from(rows.to_vec()).into_dyn()
}

#[test]
fn every_schedule_is_pytorchs_in_every_group() {
    let tensors = read(&golden("schedules.safetensors"));
    let schedules = configuration("schedules");
    let schedules = schedules.as_object().unwrap();
    assert_eq!(schedules.len(), 8);
    for (name, of) in schedules {
        let (schedule, mut trainer) = (schedule(of), trainer());
        let steps = tensors[name].shape()[0] as u64;
        let got = (0..steps).map(|step| {
            let at = Place::at_step(step);
            trainer.schedule(&*schedule, at).unwrap();
            rates(&mut trainer)
        });
        let got: Vec<_> = got.collect();
        compare(name, &as_array(&got), &tensors[name], 1e-9)
            .unwrap_or_else(|mismatch| panic!("{mismatch}"));
    }
}

fn epoch(loss: f64) -> Epoch {
    Epoch {
        number: 1,
        loss: f64::NAN,
        validation: Some(loss),
        metrics: vec![],
        sequences: 1,
    }
}

#[test]
fn rates_fall_on_a_plateau_as_pytorchs_do() {
    let tensors = read(&golden("schedules.safetensors"));
    let of = configuration("plateau");
    let number = |key: &str| of[key].as_f64().unwrap();
    let mut plateau = Plateau::new(number("factor"))
        .patience(of["patience"].as_u64().unwrap() as usize)
        .cooldown(of["cooldown"].as_u64().unwrap() as usize)
        .threshold(number("threshold"))
        .least(number("min_lr"));
    let mut trainer = trainer();
    let losses = tensors["plateau.losses"].iter();
    let got = losses.map(|loss| {
        let flow = plateau.epoch(&epoch(*loss), &mut trainer).unwrap();
        assert_eq!(flow, Flow::Continue);
        rates(&mut trainer)
    });
    let got: Vec<_> = got.collect();
    assert!(got.last().unwrap()[1] < 0.003, "{got:?}");
    compare("plateau", &as_array(&got), &tensors["plateau"], 1e-9).unwrap();
}

/// Halves the rate after the second epoch, and writes down the rate that it finds after each.
struct Halves(Arc<Mutex<Vec<f64>>>);

impl Callback for Halves {
    fn epoch(&mut self, epoch: &Epoch, trainer: &mut Trainer) -> Result<Flow> {
        let rate = trainer.learning_rate();
        self.0.lock().unwrap().push(rate);
        if epoch.number == 2 {
            trainer.set_learning_rate(rate / 2.0)?;
        }
        Ok(Flow::Continue)
    }
}

#[test]
fn a_rate_that_a_callback_sets_holds_and_its_schedule_goes_on_from_it() {
    let data = Sequences::many_to_many(Array3::ones((2, 4, 1)), Array3::ones((2, 4, 1))).unwrap();
    for gamma in [1.0, 0.9] {
        let (mut trainer, found) = (trainer(), Arc::new(Mutex::new(vec![])));
        let fit = trainer.fit(&data).epochs(4).batch_size(2);
        let fit = fit.schedule(ExponentialDecay { gamma });
        fit.callback(Halves(found.clone())).run().unwrap();
        let after = |steps: i32, by: f64| RATES[0] * by * gamma.powi(steps - 1);
        let expected = [after(2, 1.0), after(4, 1.0), after(6, 0.5), after(8, 0.5)];
        let found = found.lock().unwrap().clone();
        compare(
            "rates",
            &arr1(&found).into_dyn(),
            &arr1(&expected).into_dyn(),
            1e-12,
        )
        .unwrap();
        assert_eq!(trainer.learning_rate(), RATES[0]);
    }
}

#[test]
fn numbers_outside_of_their_range() {
    let cosine = CosineRestarts {
        steps: 3,
        longer: 1,
        least: 0.0,
    };
    let cycle = OneCycle::new(0.1, 10);
    let mut trainer = trainer();
    for (name, schedule) in [
        (
            "step_size",
            &StepDecay {
                step_size: 0,
                gamma: 0.1,
            } as &dyn Schedule,
        ),
        (
            "gamma",
            &StepDecay {
                step_size: 1,
                gamma: 0.0,
            },
        ),
        ("gamma", &ExponentialDecay { gamma: f64::NAN }),
        (
            "steps",
            &CosineAnnealing {
                steps: 0,
                least: 0.0,
            },
        ),
        (
            "least",
            &CosineAnnealing {
                steps: 1,
                least: -1.0,
            },
        ),
        (
            "longer",
            &CosineRestarts {
                longer: 0,
                ..cosine
            },
        ),
        ("steps", &CosineRestarts { steps: 0, ..cosine }),
        (
            "rising",
            &OneCycle {
                rising: 1.5,
                ..cycle
            },
        ),
        ("largest", &OneCycle::new(0.0, 10)),
        ("steps", &OneCycle::new(0.1, 0)),
        (
            "div_factor",
            &OneCycle {
                div_factor: 0.0,
                ..cycle
            },
        ),
        (
            "total_steps",
            &WarmupCosine {
                warmup_steps: 4,
                total_steps: 4,
            },
        ),
    ] {
        let error = trainer.schedule(schedule, Place::at_step(0)).unwrap_err();
        assert!(error.to_string().starts_with(name), "{error}");
    }
    let error = Plateau::new(1.0)
        .epoch(&epoch(1.0), &mut trainer)
        .unwrap_err();
    assert!(error.to_string().starts_with("factor: 1"), "{error}");
    // Any step has a rate.
    for step in [0, 1, 39, 40, 1_000_000, u64::MAX] {
        for rising in [0.0, 0.01, 1.0] {
            let cycle = OneCycle { rising, ..cycle };
            let all: [&dyn Schedule; 3] = [&cosine, &cycle, &OneCycle::new(0.1, 1)];
            for schedule in all {
                let rate = schedule.rate(0.1, Place::at_step(step));
                assert!(
                    (0.0..=0.1 + 1e-12).contains(&rate),
                    "{schedule:?}: {rate} at {step}"
                );
            }
        }
    }
    let batch = Batch::new(
        Array3::<f32>::ones((1, 1, 1)),
        Array3::<f32>::ones((1, 1, 1)),
    );
    trainer.step(&batch).unwrap();
    assert_eq!(trainer.optimizer().learning_rate(), RATES[0]);
}
