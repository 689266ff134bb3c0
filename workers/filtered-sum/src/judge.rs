//! What becomes of a message: the hot path of the worker.

mod window;

use naru_rules::filter::Scalar;
use naru_worker_core::run::chain;

use crate::decode::Decoder;
use crate::partition::Outcome;
use crate::rules::{Rules, Verdict, Windows};

use self::window::Named;

/// Most wanted fields for which a row needs no memory of its own.
const FEW: usize = 8;

/// Decodes messages and judges their records.
#[derive(Debug)]
pub struct Judge {
    pub decoder: Decoder,
    rules: Rules,
    /// The text of the last group: memory that is used again.
    group: String,
    /// The same of the last window.
    named: Named,
}

impl Judge {
    pub fn new(rules: Rules) -> Self {
        Self {
            decoder: Decoder::new(rules.wanted()).timing(rules.windows().and_then(Windows::field)),
            rules,
            group: String::new(),
            named: Named::default(),
        }
    }

    /// What the message is to a sum without windows, or why it is a dead letter. For others there is [`Self::judge_at`].
    pub fn judge(&mut self, message: &[u8]) -> Result<Outcome<'_>, String> {
        let verdict = match self.project(message)? {
            Some(verdict) => verdict,
            None => self.decode(message)?,
        };
        Ok(match verdict {
            Verdict::Dropped => Outcome::Dropped,
            Verdict::Summed(value) => Outcome::Summed {
                group: self.rules.has_groups().then_some(self.group.as_str()),
                value,
            },
        })
    }

    /// The verdict by the wanted fields alone, if they are enough.
    fn project(&mut self, message: &[u8]) -> Result<Option<Verdict>, String> {
        let mut few = [Scalar::Other; FEW];
        let mut many;
        let row = match few.get_mut(..self.rules.wanted().len()) {
            Some(few) => few,
            None => {
                many = vec![Scalar::Other; self.rules.wanted().len()];
                &mut many[..]
            }
        };
        let is_record = self
            .decoder
            .project(message, row)
            .map_err(|error| chain(&error))?;
        Ok(is_record
            .then(|| self.rules.judge_row(row, &mut self.group))
            .flatten())
    }

    /// The verdict by the whole record.
    fn decode(&mut self, message: &[u8]) -> Result<Verdict, String> {
        let record = self.decoder.decode(message).map_err(|error| chain(&error))?;
        let mut row = vec![Scalar::Other; self.rules.wanted().len()];
        self.decoder
            .project(message, &mut row)
            .map_err(|error| chain(&error))?;
        self.rules
            .judge(&record, &row, &mut self.group)
            .map_err(|error| chain(&error))
    }
}

#[cfg(test)]
mod tests;
