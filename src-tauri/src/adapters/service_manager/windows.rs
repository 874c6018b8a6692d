//! The service manager of Windows. It starts the process, hears within what time it will be where, and asks it to end.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use windows_service::service::{
    ServiceAccess, ServiceControl, ServiceControlAccept, ServiceExitCode, ServiceStartType,
    ServiceState, ServiceStatus, ServiceType,
};
use windows_service::service_control_handler::{
    self, ServiceControlHandlerResult, ServiceStatusHandle,
};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};
use windows_service::{define_windows_service, service_dispatcher};

use super::Work;
use super::installed::{Manager, Registered};
use super::units::WINDOWS_NAME;

/// Who runs services.
pub(super) const MANAGER: Manager = Manager::Windows;

/// How long a start or an end may take: actuators may need up to 75 s on their way to the safe state.
const PATIENCE: Duration = Duration::from_secs(100);

/// The service of this process, once its manager has called.
static SERVICE: OnceLock<ServiceStatusHandle> = OnceLock::new();
/// What the service does, and how it is asked to end.
static WORK: Mutex<Option<(fn(), Work)>> = Mutex::new(None);
/// Whether the manager has asked for the end.
static ENDS: AtomicBool = AtomicBool::new(false);

define_windows_service!(entry, begun);

/// See [`super::ready`].
pub(super) fn ready(_status: &str) {
    report(ServiceState::Running, 0);
}

/// See [`super::alive`].
pub(super) fn alive() {}

/// See [`super::stopping`].
pub(super) fn stopping(_status: &str) {
    report(ServiceState::StopPending, 0);
}

/// See [`super::serve`].
pub(super) fn serve(end: fn(), work: Work) -> Result<(), String> {
    *WORK.lock().unwrap_or_else(PoisonError::into_inner) = Some((end, work));
    service_dispatcher::start(WINDOWS_NAME, entry).map_err(|error| {
        format!(
            "the service manager of Windows has not started this process ({error}): `clawmesh-node service install` has it do so"
        )
    })
}

/// The service from its start to its end, on a thread of its manager.
fn begun(_arguments: Vec<std::ffi::OsString>) {
    let work = WORK.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some((end, work)) = work else { return };
    let registered =
        service_control_handler::register(WINDOWS_NAME, move |control| match control {
            ServiceControl::Stop | ServiceControl::Shutdown | ServiceControl::Preshutdown => {
                ENDS.store(true, Ordering::SeqCst);
                report(ServiceState::StopPending, 0);
                end();
                ServiceControlHandlerResult::NoError
            }
            ServiceControl::Interrogate => ServiceControlHandlerResult::NoError,
            _ => ServiceControlHandlerResult::NotImplemented,
        });
    match registered {
        Ok(handle) => drop(SERVICE.set(handle)),
        Err(error) => return tracing::error!(%error, "the service manager does not listen"),
    }
    report(ServiceState::StartPending, 0);
    let code = work();
    if code != 0 && !ENDS.load(Ordering::SeqCst) {
        // A process that goes without a word is started again.
        process::exit(code.into());
    }
    report(ServiceState::Stopped, code);
}

fn report(state: ServiceState, code: u8) {
    let Some(service) = SERVICE.get() else { return };
    let waits = matches!(
        state,
        ServiceState::StartPending | ServiceState::StopPending
    );
    let heard = ServiceControlAccept::STOP
        | ServiceControlAccept::SHUTDOWN
        | ServiceControlAccept::PRESHUTDOWN;
    let said = service.set_service_status(ServiceStatus {
        service_type: ServiceType::OWN_PROCESS,
        current_state: state,
        controls_accepted: match state {
            ServiceState::Running => heard,
            _ => ServiceControlAccept::empty(),
        },
        exit_code: match code {
            0 => ServiceExitCode::NO_ERROR,
            code => ServiceExitCode::ServiceSpecific(code.into()),
        },
        checkpoint: u32::from(waits),
        wait_hint: if waits { PATIENCE } else { Duration::ZERO },
        process_id: None,
    });
    if let Err(error) = said {
        tracing::warn!(%error, "the service manager was not told");
    }
}

/// What the manager says of the service; none where there is none of its name.
pub(super) fn registered() -> Option<Registered> {
    let manager =
        ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CONNECT).ok()?;
    let asked = ServiceAccess::QUERY_STATUS | ServiceAccess::QUERY_CONFIG;
    let service = manager.open_service(WINDOWS_NAME, asked).ok()?;
    let state = service.query_status().map(|status| status.current_state);
    let words = match state {
        Ok(ServiceState::Running) => "running",
        Ok(ServiceState::StartPending) => "starting",
        Ok(ServiceState::StopPending) => "ending",
        Ok(ServiceState::Stopped) => "stopped",
        Ok(_) => "paused",
        Err(_) => "the service manager does not say how it is",
    };
    let start = service.query_config().map(|config| config.start_type);
    Some(Registered {
        active: state.is_ok_and(|state| state == ServiceState::Running),
        enabled: start.ok().map(|start| start == ServiceStartType::AutoStart),
        words: words.to_owned(),
    })
}
