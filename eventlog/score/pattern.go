package score

import (
	"regexp"
	"strings"
)

// The patterns of the CRD's rules (crds/internal/rules/pattern.go), which cannot
// be imported from there; deploy/lint holds the two against each other.
const (
	labelPattern = `[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?`

	imagePattern = `(?:` + imageDomain + `/)?` + imagePart + `(?:/` + imagePart + `)*` +
		`(?::(?:\w|` + somePlace + `)(?:[\w.-]|` + somePlace + `){0,127})?` + // tag
		`(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?` // digest
	imageDomain = `(?:` + imageLabel + `(?:\.` + imageLabel + `)*|\[[a-fA-F0-9:]+\])(?::(?:[0-9]|` + somePlace + `)+)?`
	imageLabel  = `(?:[a-zA-Z0-9]|` + somePlace + `)(?:(?:[a-zA-Z0-9-]|` + somePlace + `)*(?:[a-zA-Z0-9]|` + somePlace + `))?`
	imagePart   = `(?:[a-z0-9]|` + somePlace + `)+(?:(?:\.|_|__|-+)(?:[a-z0-9]|` + somePlace + `)+)*`

	// somePlace is what looks like a place that is filled in for each device.
	// filledPattern says what it has to be.
	somePlace = `\$\(device\.[\w./-]+\)`

	// place is one, after its $. Its only group is the label's key.
	place    = `\(device\.(?:id|labels\.(` + labelKey + `))\)`
	labelKey = `(?:[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?`

	// filledPattern is a text in which places are filled in for each device. What else
	// begins with $(device. is refused; with another $ before it, it means itself.
	filledPattern = `[^$]*(?:\$(?:\$+[^$]*|\(device\.(?:id|labels\.` + labelKey + `)\)[^$]*|[^$(][^$]*|` +
		`\((?:[^$d][^$]*|d(?:[^$e][^$]*|e(?:[^$v][^$]*|v(?:[^$i][^$]*|i(?:[^$c][^$]*|c(?:[^$e][^$]*|e(?:[^$.][^$]*)?)?)?)?)?)?)?)?)*`

	portPattern = `(?:(?:(?:` + ipv4 + `|\[[0-9a-fA-F:.]+\]):)?` + port + `:)?` + port + `(?:/(?:tcp|udp))?`
	port        = `(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])`
	ipv4        = `(?:` + octet + `\.){3}` + octet
	octet       = `(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])`

	volumePattern = `(?:/[^:]*|(?:[a-zA-Z0-9]|` + somePlace + `)(?:[a-zA-Z0-9_.-]|` + somePlace + `){0,62}):/[^:]+(?::` + volumeOption + `(?:,` + volumeOption + `)*)?`
	volumeOption  = `(?:r[ow]|[zZ]|(?:no)?(?:exec|suid|dev|copy)|r?(?:shared|slave|private|bind))`

	// uncleanPattern is in a volume's path in the container that is not written
	// the shortest way. A slash at its end is.
	uncleanPattern = `:[^:]*(?://|/\.{1,2}(?:/|:|$))`

	// optionsPattern is in a volume's options where two of them exclude each other.
	optionsPattern = `[:,](?:` +
		`r[ow],(?:.*,)?r[ow]|[zZ],(?:.*,)?[zZ]|` +
		`(?:no)?exec,(?:.*,)?(?:no)?exec|(?:no)?suid,(?:.*,)?(?:no)?suid|` +
		`(?:no)?dev,(?:.*,)?(?:no)?dev|(?:no)?copy,(?:.*,)?(?:no)?copy|` +
		`r?bind,(?:.*,)?r?bind|` + propagation + `,(?:.*,)?` + propagation + `)(?:,|$)`
	propagation = `r?(?:shared|slave|private)`

	filePattern = `(?:/(?:[^/.]|\.[^/.]|\.\.[^/])[^/]*)+`

	durationPattern = `(?:` + number + `h)?(?:` + number + `m)?(?:` + number + `s)?(?:` + number + `ms)?`
	number          = `[0-9]{1,6}(?:\.[0-9]{1,6})?`

	memoryPattern = `[1-9](?:[0-9]{0,17}[bB]?|[0-9]{0,14}(?:[kK]|Ki)|[0-9]{0,11}(?:[mM]|Mi)|[0-9]{0,8}(?:[gG]|Gi))`

	cpuPattern = `[0-9]{1,6}(?:\.[0-9]{1,6})?|\.[0-9]{1,6}`

	capabilityPattern = `ALL|(?:CAP_)?(?:AUDIT_(?:CONTROL|READ|WRITE)|BLOCK_SUSPEND|BPF|CHECKPOINT_RESTORE|CHOWN|DAC_(?:OVERRIDE|READ_SEARCH)|` +
		`FOWNER|FSETID|IPC_(?:LOCK|OWNER)|KILL|LEASE|LINUX_IMMUTABLE|MAC_(?:ADMIN|OVERRIDE)|MKNOD|NET_(?:ADMIN|BIND_SERVICE|BROADCAST|RAW)|PERFMON|` +
		`SET(?:FCAP|GID|PCAP|UID)|SYSLOG|SYS_(?:ADMIN|BOOT|CHROOT|MODULE|NICE|PACCT|PTRACE|RAWIO|RESOURCE|TIME|TTY_CONFIG)|WAKE_ALARM)`

	userPattern = `[a-zA-Z0-9_][a-zA-Z0-9_.-]*\$?(?::[a-zA-Z0-9_][a-zA-Z0-9_.-]*)?`

	urlPathPattern = `/(?:[^%\x00-\x1f\x7f]|%[0-9a-fA-F]{2})*`
)

// whole matches what a pattern describes from the first to the last character.
func whole(pattern string) func(string) bool {
	return regexp.MustCompile("^(?:" + pattern + ")$").MatchString
}

// withoutPlaces is a pattern for what a device gets, in which every place is filled in.
func withoutPlaces(pattern string) string { return strings.ReplaceAll(pattern, "|"+somePlace, "") }

var (
	isLabel      = whole(labelPattern)
	isImage      = whole(withoutPlaces(imagePattern))
	isPort       = whole(portPattern)
	isVolume     = whole(withoutPlaces(volumePattern))
	isFile       = whole(filePattern)
	isDuration   = whole(durationPattern)
	isMemory     = whole(memoryPattern)
	isCPUs       = whole(cpuPattern)
	isCapability = whole(capabilityPattern)
	isUser       = whole(userPattern)
	isURLPath    = whole(urlPathPattern)

	isAuthoredImage  = whole(imagePattern)
	isAuthoredVolume = whole(volumePattern)

	// What the schema of a field says: text without NUL, and text in which places are
	// filled in.
	isPlain         = regexp.MustCompile(`^[^\x00]*$`)
	isAuthored      = regexp.MustCompile("^(?:" + filledPattern + ")$")
	isAuthoredPlain = regexp.MustCompile("^(?:" + strings.ReplaceAll(filledPattern, "[^$", `[^\x00$`) + ")$")

	isUnclean = regexp.MustCompile(uncleanPattern).MatchString
	excludes  = regexp.MustCompile(optionsPattern).MatchString
)
