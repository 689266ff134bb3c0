//! What a deleted resource leaves in Kafka, deleted where it asked for that.

use rdkafka::types::RDKafkaErrorCode;

use super::{Cluster, Error, RefusedSnafu};

impl Cluster {
    /// Deletes topics. One that does not exist is as good as deleted.
    pub async fn delete_topics(&self, topics: &[String]) -> Result<(), Error> {
        // Kafka answers an empty list with an error.
        if topics.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        let (turn, options) = self.change().await?;
        let admin = self.admin.get();
        let answers = self.ask(turn, admin.delete_topics(&names, &options));
        let answers = answers.await?;
        for topic in topics {
            self.topics.forget(topic);
            self.created().remove(topic);
            self.checked().remove(topic);
        }
        self.deleted(&answers, "topic", RDKafkaErrorCode::UnknownTopicOrPartition)
    }

    /// Deletes a consumer group with its offsets. One that does not exist is as good as deleted; one that has members
    /// is refused.
    pub async fn delete_group(&self, group: &str) -> Result<(), Error> {
        let (turn, options) = self.change().await?;
        let admin = self.admin.get();
        let answers = self.ask(turn, admin.delete_groups(&[group], &options));
        self.deleted(
            &answers.await?,
            "consumer group",
            RDKafkaErrorCode::GroupIdNotFound,
        )
    }

    fn deleted(
        &self,
        answers: &[Result<String, (String, RDKafkaErrorCode)>],
        what: &str,
        gone: RDKafkaErrorCode,
    ) -> Result<(), Error> {
        for answer in answers {
            match answer {
                Err((name, code)) if *code != gone => {
                    return RefusedSnafu {
                        bootstrap_servers: &self.bootstrap_servers,
                        doing: format!("delete {what} {name:?}"),
                        code: *code,
                    }
                    .fail();
                }
                Ok(_) | Err(_) => {}
            }
        }
        Ok(())
    }
}
