//! A model as the parts of perception need it, so that tests can put their own numbers in its
//! place.

use crate::infer::{InferError, Network};

/// Takes the numbers of one picture and gives numbers.
pub(crate) trait Model: Send {
    /// Runs it; the numbers of these outputs, in this order, each as many as its contract says.
    ///
    /// # Errors
    /// [`InferError`].
    fn run(&mut self, input: &[f32], outputs: &[&str]) -> Result<Vec<Vec<f32>>, InferError>;
}

impl Model for Network {
    fn run(&mut self, input: &[f32], outputs: &[&str]) -> Result<Vec<Vec<f32>>, InferError> {
        let given = Self::run(self, input)?;
        outputs.iter().map(|name| given.get(name).map(<[f32]>::to_vec)).collect()
    }
}

/// The first numbers of one output, where it has them and all are finite.
pub(crate) fn finite<const N: usize>(numbers: Option<&Vec<f32>>) -> Option<[f32; N]> {
    let numbers = *numbers?.first_chunk::<N>()?;
    numbers.iter().all(|n| n.is_finite()).then_some(numbers)
}

/// Models that tests make up.
#[cfg(test)]
pub(crate) mod fake {
    use super::*;

    /// Gives the same numbers to every picture.
    pub(crate) struct Always(pub(crate) Vec<(&'static str, Vec<f32>)>);

    impl Model for Always {
        fn run(&mut self, _: &[f32], outputs: &[&str]) -> Result<Vec<Vec<f32>>, InferError> {
            let missing = |name: &str| InferError::Contract {
                model: "made up".to_owned(),
                what: format!("no output `{name}`"),
            };
            let of = |name: &&str| self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
            outputs.iter().map(|name| of(name).ok_or_else(|| missing(name))).collect()
        }
    }
}
