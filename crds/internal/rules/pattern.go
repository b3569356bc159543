package rules

// The patterns are RE2, as in Go. Each is meant for the whole string.
const (
	// LabelPattern is an RFC 1123 label.
	LabelPattern = `[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?`

	// ImagePattern is an image reference as github.com/distribution/reference
	// defines it: any of them, with registry, port, tag and digest or without. A place
	// that is filled in for each device can stand where a digit can, but in a digest.
	ImagePattern = `(?:` + imageDomain + `/)?` + imagePart + `(?:/` + imagePart + `)*` +
		`(?::(?:\w|` + somePlace + `)(?:[\w.-]|` + somePlace + `){0,127})?` + // tag
		`(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?` // digest
	imageDomain = `(?:` + imageLabel + `(?:\.` + imageLabel + `)*|\[[a-fA-F0-9:]+\])(?::(?:[0-9]|` + somePlace + `)+)?`
	imageLabel  = `(?:[a-zA-Z0-9]|` + somePlace + `)(?:(?:[a-zA-Z0-9-]|` + somePlace + `)*(?:[a-zA-Z0-9]|` + somePlace + `))?`
	imagePart   = `(?:[a-z0-9]|` + somePlace + `)+(?:(?:\.|_|__|-+)(?:[a-z0-9]|` + somePlace + `)+)*`

	// somePlace is what looks like a place that is filled in for each device. FilledPattern
	// says what it has to be.
	somePlace = `\$\(device\.[\w./-]+\)`

	// FilledPattern is a text in which places are filled in for each device:
	// $(device.id) and $(device.labels.KEY). What else begins with $(device. is refused;
	// with another $ before it, it means itself.
	FilledPattern = `[^$]*(?:\$(?:\$+[^$]*|\(device\.(?:id|labels\.` + LabelKeyPattern + `)\)[^$]*|[^$(][^$]*|` +
		`\((?:[^$d][^$]*|d(?:[^$e][^$]*|e(?:[^$v][^$]*|v(?:[^$i][^$]*|i(?:[^$c][^$]*|c(?:[^$e][^$]*|e(?:[^$.][^$]*)?)?)?)?)?)?)?)?)*`

	// PortPattern is CONTAINER, HOST:CONTAINER or IP:HOST:CONTAINER, each port
	// from 1 to 65535.
	PortPattern = `(?:(?:(?:` + ipv4 + `|\[[0-9a-fA-F:.]+\]):)?` + port + `:)?` + port + `(?:/(?:tcp|udp))?`
	port        = `(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])`
	ipv4        = `(?:` + octet + `\.){3}` + octet
	octet       = `(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])`

	// VolumePattern is NAME:/path or /host/path:/path, and options.
	VolumePattern = `(?:/[^:]*|(?:[a-zA-Z0-9]|` + somePlace + `)(?:[a-zA-Z0-9_.-]|` + somePlace + `){0,62}):/[^:]+(?::` + volumeOption + `(?:,` + volumeOption + `)*)?`
	volumeOption  = `(?:r[ow]|[zZ]|(?:no)?(?:exec|suid|dev|copy)|r?(?:shared|slave|private|bind))`

	// UncleanPattern is in a volume's path in the container that is not written the
	// shortest way. A slash at its end is.
	UncleanPattern = `:[^:]*(?://|/\.{1,2}(?:/|:|$))`

	// OptionsPattern is in a volume's options where two of them exclude each other.
	OptionsPattern = `[:,](?:` +
		`r[ow],(?:.*,)?r[ow]|[zZ],(?:.*,)?[zZ]|` +
		`(?:no)?exec,(?:.*,)?(?:no)?exec|(?:no)?suid,(?:.*,)?(?:no)?suid|` +
		`(?:no)?dev,(?:.*,)?(?:no)?dev|(?:no)?copy,(?:.*,)?(?:no)?copy|` +
		`r?bind,(?:.*,)?r?bind|` + propagation + `,(?:.*,)?` + propagation + `)(?:,|$)`
	propagation = `r?(?:shared|slave|private)`

	// FilePattern is the absolute path of a file, written the shortest way.
	FilePattern = `(?:/(?:[^/.]|\.[^/.]|\.\.[^/])[^/]*)+`

	// DurationPattern is a duration as Go and CEL write it, in the order of its
	// units. The digits are few, so that it can't overflow. It takes an empty text.
	DurationPattern = `(?:` + number + `h)?(?:` + number + `m)?(?:` + number + `s)?(?:` + number + `ms)?`
	number          = `[0-9]{1,6}(?:\.[0-9]{1,6})?`

	// MemoryPattern is a whole number, alone or with a unit of 1024s, of so few
	// digits that it can't overflow.
	MemoryPattern = `[1-9](?:[0-9]{0,17}[bB]?|[0-9]{0,14}(?:[kK]|Ki)|[0-9]{0,11}(?:[mM]|Mi)|[0-9]{0,8}(?:[gG]|Gi))`

	// CPUPattern is a decimal number; zero is for the rule to refuse.
	CPUPattern = `[0-9]{1,6}(?:\.[0-9]{1,6})?|\.[0-9]{1,6}`

	// CapabilityPattern is a capability that Linux has, with or without CAP_, or ALL.
	CapabilityPattern = `ALL|(?:CAP_)?(?:AUDIT_(?:CONTROL|READ|WRITE)|BLOCK_SUSPEND|BPF|CHECKPOINT_RESTORE|CHOWN|DAC_(?:OVERRIDE|READ_SEARCH)|` +
		`FOWNER|FSETID|IPC_(?:LOCK|OWNER)|KILL|LEASE|LINUX_IMMUTABLE|MAC_(?:ADMIN|OVERRIDE)|MKNOD|NET_(?:ADMIN|BIND_SERVICE|BROADCAST|RAW)|PERFMON|` +
		`SET(?:FCAP|GID|PCAP|UID)|SYSLOG|SYS_(?:ADMIN|BOOT|CHROOT|MODULE|NICE|PACCT|PTRACE|RAWIO|RESOURCE|TIME|TTY_CONFIG)|WAKE_ALARM)`

	// URLPathPattern is a path that a request can be made to.
	URLPathPattern = `/(?:[^%\x00-\x1f\x7f]|%[0-9a-fA-F]{2})*`

	// UserPattern is a name or number, and optionally a group.
	UserPattern = `[a-zA-Z0-9_][a-zA-Z0-9_.-]*\$?(?::[a-zA-Z0-9_][a-zA-Z0-9_.-]*)?`

	// LabelKeyPattern is the key of a Kubernetes label.
	LabelKeyPattern = `(?:[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*/)?` + labelPart

	// LabelValuePattern is the value of a Kubernetes label; it may be empty.
	LabelValuePattern = `(?:` + labelPart + `)?`
	labelPart         = `[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?`
)
