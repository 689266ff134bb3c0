//! What the worker is compared with: the same sum, as it would be written with another tool.

use std::{path::Path, process::Command};

use super::{
    data::{PARTITIONS, Sum},
    error::Error,
    program::Program,
    runs::{Place, Run, follow},
    totals::{Format, Totals},
};

impl Place {
    /// The Kafka Streams application in this folder of jars.
    pub(crate) fn streams(
        &self,
        jars: &Path,
        name: &str,
        input: &str,
        expected: &[Sum],
    ) -> Result<Run, Error> {
        let mut command = Command::new("java");
        command
            .args(["-Xmx512m", "-cp", &format!("{}/*", jars.display())])
            .arg("dev.naru.bench.FilteredSum");
        let more = [
            name.to_owned(),
            self.folder.join(name).display().to_string(),
            PARTITIONS.to_string(),
        ];
        self.peer(command, name, input, &more, expected)
    }

    /// The Bytewax program, in a Python environment that has it.
    pub(crate) fn bytewax(
        &self,
        environment: &Path,
        name: &str,
        input: &str,
        expected: &[Sum],
    ) -> Result<Run, Error> {
        let mut command = Command::new(environment.join("bin/python"));
        command.arg(environment.join("filtered_sum.py"));
        self.peer(command, name, input, &[], expected)
    }

    /// All take servers, input topic, output topic and the schema's file first.
    fn peer(
        &self,
        mut command: Command,
        name: &str,
        input: &str,
        more: &[String],
        expected: &[Sum],
    ) -> Result<Run, Error> {
        let output = format!("{name}-totals");
        self.kafka.create_topic(&output, PARTITIONS);
        let totals = Totals::open(self.kafka.address(), &output, Format::Text)?;
        command
            .args([self.kafka.address(), input, &output])
            .arg(self.schema()?)
            .args(more);
        let mut program = Program::start(&mut command, &self.folder.join(format!("{name}.log")))?;
        follow(&mut program, &totals, expected)
    }
}
