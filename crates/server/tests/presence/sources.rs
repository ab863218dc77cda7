//! What `/sources` tells of sources that report.

use serde_json::{Value, json};

use crate::house::House;

async fn report(house: &House, outcome: &str, message: Option<&str>) {
    let at = house.now().rfc3339();
    let mut scan = json!({ "startedAt": at, "finishedAt": at, "outcome": outcome });
    if let Some(message) = message {
        scan["message"] = message.into();
    }
    let report = json!({ "source": "attic", "scan": scan, "sightings": [] });
    let answer = house.send("POST", "/presence/sightings", report).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

async fn attic(house: &House) -> Value {
    house.get("/sources").await.json()["sources"][0].clone()
}

#[tokio::test]
async fn the_last_scan_keeps_its_outcome_whatever_becomes_of_the_source() {
    for house in House::on_each_database().await {
        report(&house, "complete", None).await;
        let told = attic(&house).await;
        assert_eq!(
            (&told["lastScan"]["outcome"], &told["lastScan"]["message"]),
            (&json!("complete"), &json!(""))
        );

        house.at_time("2025-08-02T12:01:00");
        report(&house, "failed", Some("no route to host")).await;
        let failed = json!(["failed", "no route to host"]);
        let last = |told: &Value| json!([told["lastScan"]["outcome"], told["lastScan"]["message"]]);
        let told = attic(&house).await;
        assert_eq!((last(&told), &told["health"]["status"]), (failed.clone(), &json!("failed")));

        // Switched off and on again, its health says something else; the scan failed all the same.
        let path = format!("/sources/{}", told["id"].as_str().unwrap());
        for (enabled, health) in [(false, "stopped"), (true, "waiting")] {
            let answer = house.send("PATCH", &path, json!({ "enabled": enabled })).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            let told = attic(&house).await;
            assert_eq!((last(&told), &told["health"]["status"]), (failed.clone(), &json!(health)));
        }

        house.at_time("2025-08-02T12:02:00");
        report(&house, "blind", Some("no carrier")).await;
        assert_eq!(last(&attic(&house).await), json!(["blind", "no carrier"]));
        house.stop().await;
    }
}

#[tokio::test]
async fn what_a_report_proves_may_be_said() {
    for house in House::on_each_database().await {
        let at = house.now().rfc3339();
        let mut body = json!({
            "source": "attic", "kind": "neighbors", "strength": "listening", "sightings": [],
            "scan": { "startedAt": at, "finishedAt": at, "outcome": "complete" },
        });
        assert_eq!(house.send("POST", "/presence/sightings", body.clone()).await.status, 200);
        body["strength"] = "certain".into();
        let answer = house.send("POST", "/presence/sightings", body).await;
        assert_eq!(answer.status, 422, "{}", answer.text);
        house.stop().await;
    }
}
