//! The command line.

use crate::common::say;
use lexopt::{Arg, Parser, ValueExt};
use std::fmt;
use std::path::PathBuf;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum CellKind {
    Rnn,
    Lstm,
    Gru,
}

impl fmt::Display for CellKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rnn => "RNN",
            Self::Lstm => "LSTM",
            Self::Gru => "GRU",
        })
    }
}

pub struct Options {
    pub device: String,
    pub cell: CellKind,
    pub data: PathBuf,
    pub column: Option<String>,
    pub hidden: usize,
    pub layers: usize,
    pub window: usize,
    pub epochs: usize,
    pub seed: u64,
    pub out: PathBuf,
    /// Steps of the free-running forecast.
    pub ahead: usize,
}

const HELP: &str = "\
Trains a recurrent network to forecast the next value of a series.

  --device auto|cpu|gpu   where to train              [auto: a hardware GPU, else the CPU]
  --cell rnn|lstm|gru     the recurrent cell          [lstm]
  --data FILE.csv         the series, with a header   [monthly sunspot numbers]
  --column NAME           its column                  [sunspots; of other files the last]
  --hidden N              hidden units                [32]
  --layers N              recurrent layers            [1]
  --window N              values the network sees     [48]
  --epochs N              passes over the data        [30]
  --seed N                of weights and shuffling    [0]
  --ahead N               steps of the free forecast  [480]
  --out FOLDER            for plots and weights       [target/forecast]";

impl Options {
    /// The options, or `None` where only help was wanted.
    pub fn parse() -> Result<Option<Self>, String> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let mut options = Self {
            device: "auto".into(),
            cell: CellKind::Lstm,
            data: root.join("examples/data/sunspots_monthly.csv"),
            column: None,
            hidden: 32,
            layers: 1,
            window: 48,
            epochs: 30,
            seed: 0,
            out: "target/forecast".into(),
            ahead: 480,
        };
        let mut arguments = Parser::from_env();
        while let Some(argument) = arguments.next().map_err(|reason| reason.to_string())? {
            let Arg::Long(name) = argument else {
                return Err(argument.unexpected().to_string());
            };
            let name = name.to_owned();
            if name == "help" {
                say!("{HELP}");
                return Ok(None);
            }
            options
                .set(&name, &mut arguments)
                .map_err(|reason| format!("--{name}: {reason}"))?;
        }
        Ok(Some(options))
    }

    fn set(&mut self, name: &str, arguments: &mut Parser) -> Result<(), String> {
        let text = |arguments: &mut Parser| {
            let value = arguments.value().map_err(|reason| reason.to_string())?;
            value.string().map_err(|reason| reason.to_string())
        };
        let count = |arguments: &mut Parser| {
            let word = text(arguments)?;
            match word.parse::<usize>() {
                Ok(number) if number > 0 => Ok(number),
                _ => Err(format!("{word:?}, expected a whole number, at least 1")),
            }
        };
        match name {
            "device" => self.device = text(arguments)?,
            "cell" => {
                self.cell = match text(arguments)?.as_str() {
                    "rnn" => CellKind::Rnn,
                    "lstm" => CellKind::Lstm,
                    "gru" => CellKind::Gru,
                    other => return Err(format!("{other:?}, expected rnn, lstm or gru")),
                };
            }
            "data" => self.data = text(arguments)?.into(),
            "column" => self.column = Some(text(arguments)?),
            "hidden" => self.hidden = count(arguments)?,
            "layers" => self.layers = count(arguments)?,
            "window" => self.window = count(arguments)?,
            "epochs" => self.epochs = count(arguments)?,
            "ahead" => self.ahead = count(arguments)?,
            "seed" => {
                let word = text(arguments)?;
                self.seed = word
                    .parse()
                    .map_err(|_| format!("{word:?}, expected a whole number"))?;
            }
            "out" => self.out = text(arguments)?.into(),
            _ => return Err("no such option (--help lists them)".into()),
        }
        Ok(())
    }
}
