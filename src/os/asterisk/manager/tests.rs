//! The session against ends that are scripted word by word; the real one is in `tests/watch`.

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpListener,
};

use super::*;

/// An end that answers each action as `answer` says: its number stands for `{id}`.
async fn server(answer: impl Fn(&str) -> String + Send + 'static) -> Login {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream
            .write_all(b"Asterisk Call Manager/5.0.4\r\n")
            .await
            .unwrap();
        let (read, mut write) = stream.split();
        let mut lines = BufReader::new(read).lines();
        let (mut action, mut id) = (String::new(), String::new());
        while let Ok(Some(line)) = lines.next_line().await {
            if let Some(name) = line.strip_prefix("Action: ") {
                name.clone_into(&mut action);
            } else if let Some(number) = line.strip_prefix("ActionID: ") {
                number.clone_into(&mut id);
            } else if line.is_empty() {
                let text = answer(&action).replace("{id}", &id).replace('\n', "\r\n");
                if write.write_all(text.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    });
    Login {
        address,
        user: "guard".into(),
        secret: "s3cret".to_owned().into(),
        limit: Duration::from_secs(5),
    }
}

fn well(action: &str) -> String {
    let rest = match action {
        "IAXregistry" => {
            "Event: RegistryEntry\nActionID: {id}\nHost: 203.0.113.1:4569\nDNSmanager: N\n\
             Username: alice\nPerceived: 198.51.100.7:4569\nRefresh: 60\nState: Registered\n\n\
             Event: Registry\nChannelType: IAX2\nStatus: Rejected\n\n\
             Event: RegistryEntry\nActionID: {id}\nHost: (null)\nDNSmanager: N\nUsername: bob\n\
             Perceived: <Unregistered>\nRefresh: 60\nState: Unregistered\n\n\
             Event: RegistrationsComplete\nActionID: {id}\nListItems: 2\n\n"
        }
        "CoreShowChannels" => {
            "Event: CoreShowChannel\nActionID: {id}\nChannel: IAX2/to-alice-460\n\
             ChannelStateDesc: Up\n\nEvent: CoreShowChannel\nActionID: {id}\n\
             Channel: SIP/desk-1\nChannelStateDesc: Up\n\n\
             Event: CoreShowChannelsComplete\nActionID: {id}\n\n"
        }
        _ => "",
    };
    format!("Response: Success\nActionID: {{id}}\n\n{rest}")
}

#[tokio::test]
async fn lists_are_read_and_events_are_kept() {
    let mut manager = Manager::connect(&server(well).await).await.unwrap();
    let registry = manager.registry().await.unwrap();
    assert_eq!(registry.len(), 2);
    assert_eq!(registry[0].host.as_deref(), Some("203.0.113.1:4569"));
    assert_eq!(registry[0].state, "Registered");
    assert_eq!(registry[1].host, None);
    assert_eq!(registry[1].perceived, None);
    let channels = manager.channels().await.unwrap();
    assert_eq!(channels.len(), 1);
    assert_eq!(channels[0].peer(), "to-alice");
    assert_eq!(manager.told().await.unwrap(), Told::Registration);
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let refusing = |message: &'static str| {
        move |action: &str| {
            if action == "Login" && message != "Authentication failed" {
                well(action)
            } else {
                format!("Response: Error\nActionID: {{id}}\nMessage: {message}\n\n")
            }
        }
    };
    let login = server(refusing("Authentication failed")).await;
    let error = Manager::connect(&login).await.unwrap_err().to_string();
    assert!(
        error.contains("manager.conf") && error.contains("guard"),
        "{error}"
    );
    assert!(!error.contains("s3cret"), "{error}");

    let unloaded = "Invalid/unknown command: IAXregistry. Use Action: ListCommands";
    let mut manager = Manager::connect(&server(refusing(unloaded)).await)
        .await
        .unwrap();
    let error = manager.registry().await.unwrap_err();
    assert!(matches!(error, OsError::NoIax2 { .. }), "{error}");

    let busy = "Could not unload module.";
    let mut manager = Manager::connect(&server(refusing(busy)).await)
        .await
        .unwrap();
    let error = manager.module(ModuleOrder::Unload).await.unwrap_err();
    assert!(error.to_string().contains(busy), "{error}");
    let not_loaded = server(refusing("Module not loaded")).await;
    let mut manager = Manager::connect(&not_loaded).await.unwrap();
    assert!(!manager.has_module().await.unwrap());
}

#[tokio::test]
async fn an_end_that_is_no_asterisk_is_named_and_never_hangs() {
    let mut login = server(|_| "x".repeat(100_000)).await;
    let error = Manager::connect(&login).await.unwrap_err();
    assert!(matches!(error, OsError::Unreadable { .. }), "{error}");

    login = server(|_| String::new()).await;
    login.limit = Duration::from_millis(300);
    let error = Manager::connect(&login).await.unwrap_err();
    assert!(matches!(error, OsError::Timeout { .. }), "{error}");

    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    login.address = nobody.local_addr().unwrap();
    drop(nobody);
    let error = Manager::connect(&login).await.unwrap_err();
    assert!(matches!(error, OsError::Manager { .. }), "{error}");

    let answer = |action: &str| match action {
        "Login" => well(action),
        _ => "Response: Success\nActionID: {id}\n\nEvent: RegistryEntry\nActionID: {id}\n\
              Host: 203.0.113.1:4569\nUsername: alice\nPerceived: nonsense\nRefresh: 60\n\
              State: Registered\n\nEvent: RegistrationsComplete\nActionID: {id}\n\n"
            .to_owned(),
    };
    let mut manager = Manager::connect(&server(answer).await).await.unwrap();
    let error = manager.registry().await.unwrap_err().to_string();
    assert!(error.contains("perceived"), "{error}");
}
