//! Through folders and all that is in them, one step after the other. Links are steps and are never followed, so
//! that no loop is entered and nothing outside is touched.

use sojourn_gateway::files::{
    Entry, EntryKind, RemotePath,
    session::{FileError, FileSession},
};

use super::progress::{Gone, Lines};
use crate::http::{problem::Problem, wire::files::ProgressLine};

/// Folders in folders; what is deeper is refused.
const DEPTH: usize = 256;

/// When a folder's own step comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    FoldersFirst,
    FoldersLast,
}

/// Something on the way.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) path: RemotePath,
    pub(super) kind: EntryKind,
    /// What the folder's listing said of it; of where the way begins, what looking said.
    pub(super) entry: Option<Entry>,
}

enum Next {
    /// To be looked into, then done.
    Enter(Step, usize),
    Do(Step),
}

/// A way through some files and folders.
pub(super) struct Walk {
    order: Order,
    next: Vec<Next>,
}

impl Walk {
    pub(super) fn new(order: Order) -> Self {
        Self { order, next: Vec::new() }
    }

    /// Begins at a path. With `recursive` a folder is entered.
    pub(super) fn begin(&mut self, step: Step, recursive: bool) {
        let enter = recursive && step.kind == EntryKind::Folder;
        self.next.push(if enter { Next::Enter(step, 0) } else { Next::Do(step) });
    }

    /// The next step; a folder that could not be read is an error, and the way goes on.
    pub(super) async fn step(
        &mut self,
        session: &FileSession,
    ) -> Option<Result<Step, (RemotePath, FileError)>> {
        loop {
            match self.next.pop()? {
                Next::Do(step) => return Some(Ok(step)),
                Next::Enter(step, depth) => {
                    let path = step.path.clone();
                    let begun = self.next.len();
                    let first = self.order == Order::FoldersFirst;
                    if !first {
                        self.next.push(Next::Do(step.clone()));
                    }
                    if let Err(error) = self.look(session, &path, depth).await {
                        self.next.truncate(begun);
                        return Some(Err((path, error)));
                    }
                    if first {
                        return Some(Ok(step));
                    }
                }
            }
        }
    }

    /// Takes what is in a folder.
    async fn look(
        &mut self,
        session: &FileSession,
        path: &RemotePath,
        depth: usize,
    ) -> Result<(), FileError> {
        if depth >= DEPTH {
            let kind = sojourn_gateway::files::FsErrorKind::Invalid;
            return Err(
                sojourn_gateway::files::FsError::new(kind, "folders lie too deep in each other").into()
            );
        }
        let mut browsing = session.list(path).await?;
        let begun = self.next.len();
        while let Some(entries) = browsing.next().await? {
            for entry in entries {
                // A name that is none is not touched; the target made it up.
                let Ok(path) = path.join(&entry.name) else { continue };
                let kind = entry.kind;
                let step = Step { path, kind, entry: Some(entry) };
                self.next.push(match kind {
                    EntryKind::Folder => Next::Enter(step, depth + 1),
                    EntryKind::File | EntryKind::Link | EntryKind::Other => Next::Do(step),
                });
            }
        }
        // In the target's order.
        self.next[begun..].reverse();
        Ok(())
    }
}

/// What has been done so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) done: u64,
    pub(super) failed: u64,
    pub(super) bytes: u64,
}

impl Tally {
    pub(super) fn line(&self, path: Option<&RemotePath>) -> ProgressLine {
        ProgressLine {
            path: path.map(RemotePath::display),
            done: self.done,
            failed: self.failed,
            bytes: self.bytes,
            ..ProgressLine::default()
        }
    }

    /// Tells of a failure. `Gone` also where nothing more can be done: the session or the target is lost.
    pub(super) async fn failed(
        &mut self,
        lines: &mut Lines,
        path: &RemotePath,
        error: FileError,
    ) -> Result<(), Gone> {
        self.failed += 1;
        let over = match &error {
            FileError::Ended(_) => true,
            FileError::Target(error) => error.is_lost(),
            FileError::Denied(_) => false,
        };
        let problem = Problem::from(error);
        let mut line = self.line(Some(path));
        line.error = Some(problem.detail().to_owned());
        line.code = Some(problem.code());
        line.finished = over;
        lines.say(&line).await?;
        if over { Err(Gone) } else { Ok(()) }
    }

    pub(super) async fn finish(&self, lines: &mut Lines) -> Result<(), Gone> {
        lines.say(&ProgressLine { finished: true, ..self.line(None) }).await
    }
}

/// What is done with each step of a way.
#[derive(Debug, Clone, Copy)]
pub(super) enum Work {
    /// Links are removed, not what they lead to.
    Delete,
    /// Permissions of a link are those of what it leads to, which may be anywhere: links are left out.
    Chmod(u32),
}

impl Work {
    const fn order(self) -> Order {
        match self {
            Self::Delete => Order::FoldersLast,
            Self::Chmod(_) => Order::FoldersFirst,
        }
    }

    async fn on(self, session: &FileSession, step: &Step) -> Result<(), FileError> {
        match (self, step.kind) {
            (Self::Delete, EntryKind::Folder) => session.remove_folder(&step.path).await,
            (Self::Delete, EntryKind::File | EntryKind::Link | EntryKind::Other) => {
                session.remove_file(&step.path).await
            }
            (Self::Chmod(_), EntryKind::Link) => Ok(()),
            (Self::Chmod(bits), EntryKind::File | EntryKind::Folder | EntryKind::Other) => {
                session.set_permissions(&step.path, bits).await
            }
        }
    }
}

/// Does it with all that is on the way, and tells how it goes on.
pub(super) async fn each(
    session: FileSession,
    paths: Vec<RemotePath>,
    recursive: bool,
    work: Work,
    mut lines: Lines,
) -> Result<(), Gone> {
    let mut tally = Tally::default();
    for path in paths {
        let mut walk = Walk::new(work.order());
        match session.glance(&path, false).await {
            Ok(entry) => {
                let step = Step { path, kind: entry.kind, entry: Some(entry) };
                walk.begin(step, recursive);
            }
            // The work itself says what is wrong, and leaves an event.
            Err(_) => walk.begin(Step { path, kind: EntryKind::Other, entry: None }, false),
        }
        while let Some(step) = walk.step(&session).await {
            let (path, done) = match step {
                Ok(step) => {
                    let done = work.on(&session, &step).await;
                    (step.path, done)
                }
                Err((path, error)) => (path, Err(error)),
            };
            match done {
                Ok(()) => {
                    tally.done += 1;
                    lines.progress(|| tally.line(Some(&path))).await?;
                }
                Err(error) => tally.failed(&mut lines, &path, error).await?,
            }
        }
    }
    tally.finish(&mut lines).await
}
