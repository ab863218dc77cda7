//! Every example of the seed document, sent literally, gets the documented answer.

use serde_json::Value;

use crate::house::House;

/// The answer holds everything that the example shows; objects may hold more.
fn holds(answer: &Value, example: &Value) -> bool {
    match (answer, example) {
        (Value::Object(answer), Value::Object(example)) => {
            example.iter().all(|(key, value)| answer.get(key).is_some_and(|there| holds(there, value)))
        }
        (Value::Array(answer), Value::Array(example)) => {
            answer.len() == example.len() && answer.iter().zip(example).all(|(a, e)| holds(a, e))
        }
        (answer, example) => answer == example,
    }
}

#[tokio::test]
async fn every_example_gets_the_documented_answer_at_both_mounts() {
    let examples: Vec<Value> = serde_json::from_str(include_str!("../seed_a/examples.json")).unwrap();
    for mount in ["", "/api/v1"] {
        for house in House::on_each_database().await {
            for example in &examples {
                let text = |key: &str| example[key].as_str();
                let path = format!("{mount}{}", text("path").unwrap());
                let answer = house.answer(house.request(text("method").unwrap(), &path, text("body"))).await;
                assert_eq!(answer.status, 200, "{}: {}", example["about"], answer.text);
                assert!(holds(&answer.json(), &example["answer"]), "{}: {}", example["about"], answer.text);
            }
            house.stop().await;
        }
    }
}

#[tokio::test]
async fn the_six_documented_fields_come_first_and_in_the_documented_order() {
    for house in House::on_each_database().await {
        house.enter("AA:BB:CC:DD:EE:FF", "2025-08-01T10:00:00", Some("2025-08-01T12:00:00")).await;
        let answer = house.get("/sessions/list").await;
        let start = "{\"success\":true,\"sessions\":[{\"ses_MAC\":\"AA:BB:CC:DD:EE:FF\",\"ses_Connection\":\
                 \"2025-08-01 10:00\",\"ses_Disconnection\":\"2025-08-01 12:00\",\"ses_Duration\":\"2h 0m\",\
                 \"ses_IP\":\"192.168.1.10\",\"ses_Info\":\"\",\"id\":\"psess_";
        assert!(answer.text.starts_with(start), "{}", answer.text);
        let session = &answer.sessions()[0];
        assert_eq!(session["ses_DateTimeConnection"], "2025-08-01T08:00:00.000Z");
        assert_eq!(session["ses_DateTimeDisconnection"], "2025-08-01T10:00:00.000Z");
        assert_eq!(session["ses_EventTypeConnection"], "Connected");
        assert_eq!(session["ses_EventTypeDisconnection"], "Disconnected");
        assert_eq!(session["ses_StillConnected"], 0);
        assert_eq!(session["ses_AdditionalInfo"], "");
        house.stop().await;
    }
}
