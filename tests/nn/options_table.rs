//! `docs/options.md` says which golden case has which option: its table is made here.

#[path = "../../src/files.rs"]
mod files;

use super::golden::golden;
use safetensors::SafeTensors;
use serde_json::Value;
use std::path::Path;

/// A case's configuration, the names of its tensors, and whether some row's length is 0.
struct Case {
    name: String,
    configuration: Value,
    tensors: Vec<String>,
    has_empty_row: bool,
}

impl Case {
    fn read(name: String, path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let lengths = file.tensor("lengths").ok();
        let lengths: Vec<i64> =
            lengths.map_or(vec![], |view| bytemuck::pod_collect_to_vec(view.data()));
        Self {
            name,
            configuration: serde_json::from_str(&header.metadata().as_ref().unwrap()["bptt"])
                .unwrap(),
            tensors: file.names().into_iter().map(str::to_owned).collect(),
            has_empty_row: lengths.contains(&0),
        }
    }

    fn has(&self, tensor: &str) -> bool {
        self.tensors.iter().any(|name| name == tensor)
    }

    fn cell(&self, name: &str) -> bool {
        self.configuration["cell"] == name
    }

    /// Whether a key is there, and not what it would be without.
    fn sets(&self, key: &str) -> bool {
        match &self.configuration[key] {
            Value::Null => false,
            Value::Bool(value) => *value,
            Value::Number(value) => value.as_f64() != Some(0.0),
            Value::Array(values) => values.iter().any(|value| value != 0.0 && value != 0),
            _ => true,
        }
    }
}

type Has = fn(&Case) -> bool;

const OPTIONS: [(&str, Has); 27] = [
    ("RNN, tanh", |case| {
        case.cell("rnn_tanh") && !case.sets("activations")
    }),
    ("RNN, ReLU", |case| case.cell("rnn_relu")),
    ("LSTM", |case| case.cell("lstm")),
    ("GRU, reset after", |case| {
        case.cell("gru") && case.configuration["reset_after"] != false
    }),
    ("GRU, reset before (`reset_after(false)`)", |case| {
        case.configuration["reset_after"] == false
    }),
    ("`layers`, 2 or more", |case| {
        case.configuration["num_layers"].as_u64() > Some(1)
    }),
    ("`bias(false)`", |case| case.configuration["bias"] == false),
    ("`bias(Bias::One)`", |case| {
        case.configuration["bias"] == "one"
    }),
    ("`proj_size`", |case| case.sets("proj_size")),
    ("`skip_input`", |case| case.sets("skip_input")),
    ("`batch_first`", |case| case.sets("batch_first")),
    ("initial states given", |case| {
        case.has("h0") || case.has("c0")
    }),
    ("no initial states", |case| {
        !case.has("h0") && !case.has("c0")
    }),
    ("gradients of final states given", |case| case.has("dhn")),
    ("no gradients asked for", |case| !case.has("dy")),
    ("`activations`", |case| case.sets("activations")),
    ("`clip`", |case| case.sets("clip")),
    ("`cell_clip`", |case| case.sets("cell_clip")),
    ("`peepholes`", |case| case.sets("peepholes")),
    ("`input_forget`", |case| case.sets("input_forget")),
    ("`dropout`", |case| {
        case.sets("dropout") && case.sets("train")
    }),
    ("`input_dropout`", |case| {
        case.sets("input_dropout") && case.sets("train")
    }),
    ("`recurrent_dropout`", |case| {
        case.sets("recurrent_dropout") && case.sets("train")
    }),
    ("`weight_dropout`", |case| {
        case.sets("weight_dropout") && case.sets("train")
    }),
    ("`zoneout`, drawn", |case| {
        case.sets("zoneout") && case.sets("train")
    }),
    ("`zoneout`, its mean", |case| {
        case.sets("zoneout") && !case.sets("train")
    }),
    ("a row of length 0", |case| case.has_empty_row),
];

const COLUMNS: [&str; 4] = [
    "one direction, all T",
    "one direction, ragged",
    "two directions, all T",
    "two directions, ragged",
];

/// For each folder the case that has the least besides, and how many more there are.
fn cell(folders: &[Vec<Case>], option: Has, column: usize) -> String {
    let (two, ragged) = (column >= 2, column % 2 == 1);
    let fits = |case: &&Case| {
        option(case) && case.sets("bidirectional") == two && case.has("lengths") == ragged
    };
    let names = folders.iter().filter_map(|cases| {
        let found: Vec<_> = cases.iter().filter(fits).map(|case| &case.name).collect();
        let first = found.iter().min_by_key(|name| (name.len(), **name))?;
        Some(match found.len() - 1 {
            0 => format!("`{first}`"),
            more => format!("`{first}` +{more}"),
        })
    });
    match names.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "–".to_owned(),
        some => some,
    }
}

fn table() -> String {
    let folders = [
        "keras",
        "onnxruntime",
        "recurrent",
        "recurrent_options",
        "variants",
    ]
    .map(|folder| {
        let files = std::fs::read_dir(golden(folder))
            .unwrap()
            .map(|file| file.unwrap().path());
        let cases = files.filter_map(|path| {
            let name = path
                .file_name()?
                .to_str()?
                .strip_suffix(".case.safetensors")?;
            Some(Case::read(format!("{folder}/{name}"), &path))
        });
        cases.collect::<Vec<_>>()
    });
    let mut text = format!(
        "| option | {} |\n|---|---|---|---|---|\n",
        COLUMNS.join(" | ")
    );
    for (name, option) in OPTIONS {
        let cells = (0..COLUMNS.len()).map(|column| cell(&folders, option, column));
        text += &format!("| {name} | {} |\n", cells.collect::<Vec<_>>().join(" | "));
    }
    text
}

#[test]
fn the_table_of_options_is_that_of_the_golden_cases() {
    const START: &str = "<!-- made by tests/nn/options_table.rs -->\n";
    const END: &str = "<!-- end -->\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/options.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text
        .split_once(START)
        .expect("the mark of the table's start");
    let (old, after) = rest.split_once(END).expect("the mark of the table's end");
    let new = table();
    if std::env::var_os("BPTT_WRITE").is_some() {
        files::replace(&path, [before, START, &new, END, after].concat().as_bytes()).unwrap();
        return;
    }
    assert!(
        old == new,
        "docs/options.md is not what tests/golden has; refresh it with \
         `BPTT_WRITE=1 cargo test --release --test nn the_table_of_options`"
    );
}
