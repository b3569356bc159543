package explain

// advice says what a reason of a device's report means and what the agent does
// next. The words are those of the agent's plan and engine; a test beside the
// command line, which may import both, proves that no reason is missing.
type advice struct {
	means string
	next  string
}

// What the agent does after a failure, by the class that its engine gives it.
const (
	soonAgain  = "the agent tries again by itself, after 1 s and then ever longer, at most 5 minutes"
	slowAgain  = "the agent tries again by itself, after 30 s and then ever longer, at most 30 minutes"
	lateAgain  = "the agent waits 10 minutes and then ever longer, at most 2 hours, before it tries again"
	uponChange = "the agent waits for another score; it tries this one once an hour only"
	uponReturn = "the agent tries again every few seconds until Podman answers"
)

var advices = map[string]advice{
	"ImagePullFailed":   {"the registry could not be reached, or had trouble", soonAgain},
	"ImageNotFound":     {"the registry has no such image or tag", slowAgain},
	"ImageAccessDenied": {"the registry wants other credentials", slowAgain},
	"ImageRateLimited":  {"the registry said that there were too many requests", lateAgain},
	"ImageNotPresent":   {"the image is not on the device, and may not be or could not be pulled", slowAgain},
	"InvalidImage":      {"no registry could serve this image's name as it is", uponChange},
	"PortInUse":         {"another process listens on the host port", soonAgain},
	"NameTaken":         {"a container that is not the fleet's has the name", slowAgain},
	"InvalidContainer":  {"Podman refuses what the service asks for", uponChange},
	"ContainerGone":     {"the container was removed by somebody else meanwhile", soonAgain},
	"CreateFailed":      {"the container could not be created", soonAgain},
	"StartFailed":       {"the container could not be started", soonAgain},
	"StopFailed":        {"the container could not be stopped", soonAgain},
	"RemoveFailed":      {"the container could not be removed", soonAgain},
	"ExecFailed":        {"a command could not be run in the container", soonAgain},
	"PodmanUnavailable": {"Podman did not answer on the device", uponReturn},
	"ObserveFailed":     {"the agent could not see which containers there are", soonAgain},

	"CrashLoop":         {"its container ends soon after each start", "the agent starts it again by itself, with pauses of 1 s and then ever longer, at most 5 minutes; it counts as running once it has run for 10 s"},
	"ContainerExited":   {"its container ended with an error, and restartPolicy Never keeps it so", "the agent leaves it ended until the score changes, also where the container is removed"},
	"Unhealthy":         {"as many checks in a row failed as its score allows", "the agent goes on checking; the first check that passes makes it Running again"},
	"UnsupportedScore":  {"this agent does not know the score's type", "the agent leaves what runs as it is, until it is updated or the score changes"},
	"InvalidScore":      {"every device refuses the score", "the agent leaves what runs as it is, until the score changes"},
	"Creating":          {"it has no container yet", "the agent is pulling its image or creating it, and reports what came of it"},
	"Replacing":         {"its update waits for its image, and the revision before is kept meanwhile", "the agent is bringing the new image and then replaces the container"},
	"Starting":          {"its container does not run yet, or its first check has not passed", "the agent waits for it, and for the first check that passes"},
	"Removing":          {"containers that are no longer wanted are being removed", "the agent removes them, and then says that they are gone"},
	"UnknownDeployment": {"the log never assigned it to this device", "the agent leaves it alone"},
}

// KnowsReason says whether an explanation has words of its own for a reason that
// a device reports.
func KnowsReason(reason string) bool {
	_, ok := advices[reason]
	return ok
}

// adviceOn gives the words for a reason, with general ones where it has none.
func adviceOn(reason string) advice {
	if a, ok := advices[reason]; ok {
		return a
	}
	return advice{next: "the agent goes on trying by itself, with growing pauses"}
}
