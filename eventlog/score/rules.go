package score

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// What a whole score may have, as in the CRD.
const (
	maxPorts = 100
	// MaxContent is the most characters that command, args, env, configs and labels have.
	MaxContent = 190 << 10
	// MaxBytes is the most that the score weighs as JSON.
	MaxBytes = 200 << 10
)

const (
	saysCapability = "a Linux capability in capitals, such as NET_ADMIN, or ALL"
	saysProgram    = "the first item is the program to run, which cannot be empty"
	saysPlace      = "$(device.id) and $(device.labels.KEY) are filled in in image, command, args, volumes and the values of env and configs alone: write them there"
	saysNUL        = `no process and no file can be given a NUL character (\u0000): leave it out`
)

// LabelPrefixes are the beginnings of container labels that are the agent's own.
var LabelPrefixes = []string{"fleet.nationtech.io/", "io.nationtech.fleet."}

func rules(f form) []rule {
	all := slices.Concat(serviceRules(f), listRules(f), textRules(), fieldRules(), sumRules())
	if f == authored {
		all = append(all, placeRules()...)
	}
	return all
}

func serviceRules(f form) []rule {
	isImage := isImage
	if f == authored {
		isImage = isAuthoredImage
	}
	return []rule{
		ofScore(func(services []wire) bool { return len(services) > 0 },
			"a PodmanV0 score needs at least one service, as in data: {services: [{name: web, image: docker.io/library/nginx:1.27}]}"),
		everyService(func(s wire) bool { return s.Name != nil && isLabel(*s.Name) }, field(""),
			"each service needs a name: a label of lower-case letters, digits and '-', at most 63 characters, a letter or digit first and last"),
		{"the names of a score's services must be unique", func(services []wire) (string, bool) {
			count := map[string]int{}
			for _, s := range services {
				if s.Name != nil {
					count[*s.Name]++
				}
			}
			i := slices.IndexFunc(services, func(s wire) bool { return s.Name != nil && count[*s.Name] > 1 })
			if i < 0 {
				return "", false
			}
			return "service " + services[i].title(), true
		}},
		everyService(func(s wire) bool { return s.Image != nil && *s.Image != "" }, field(""),
			"each service needs an image, such as docker.io/library/nginx:1.27"),
		eachField("image", func(s wire) *string { return s.Image }, func(v string) bool { return v == "" || isImage(v) },
			"not an image reference: write [registry[:port]/]repository[:tag][@digest], without spaces and with the repository in lower case, such as docker.io/library/nginx:1.27"),
	}
}

func listRules(f form) []rule {
	isVolume := isVolume
	if f == authored {
		isVolume = isAuthoredVolume
	}
	ports := func(s wire) []string { return s.Ports }
	volumes := func(s wire) []string { return s.Volumes }
	return []rule{
		everyItem("ports", ports, isPort,
			`a port is "CONTAINER", "HOST:CONTAINER" or "IP:HOST:CONTAINER", each from 1 to 65535, and optionally /tcp or /udp, such as "8080:80"`),
		everyItem("ports", ports, shortestIPv6,
			`an IPv6 address is written in its shortest form, such as "[::1]:8080:80"`),
		everyService(func(s wire) bool {
			return len(s.Ports) == 0 || s.Network == nil || *s.Network != "host" && *s.Network != "none"
		}, func(s wire) string { return ", network " + *s.Network },
			"only the network bridge publishes ports: leave ports out (on network host the container has the device's own) or leave network out"),
		everyItem("volumes", volumes, isVolume,
			`a volume is "NAME:/path" or "/host/path:/path", and optionally options after it, such as "data:/data:ro"`),
		everyItem("volumes", volumes, func(v string) bool { return !isUnclean(v) },
			"the path in the container is written without '//', '.' and '..'"),
		everyItem("volumes", volumes, func(v string) bool { return !excludes(v) },
			"one at most of each of these can be given: ro and rw, z and Z, exec and noexec, suid and nosuid, dev and nodev, copy and nocopy, bind and rbind, (r)shared, (r)slave and (r)private"),
		everyService(func(s wire) bool { return sharedTarget(s) == "" }, func(s wire) string { return `, volumes "` + sharedTarget(s) + `"` },
			"two volumes are mounted at one path: give each its own"),
		everyItem("capAdd", func(s wire) []string { return s.CapAdd }, isCapability, saysCapability),
		everyItem("capDrop", func(s wire) []string { return s.CapDrop }, isCapability, saysCapability),
		everyKey("env", func(s wire) map[string]string { return s.Env }, func(k string) bool { return k != "" && !strings.Contains(k, "=") },
			"the name of an environment variable is not empty and has no '='"),
		everyKey("configs", func(s wire) map[string]string { return s.Configs }, isFile,
			"each key is the absolute path of a file in the container, without '//', '.' and '..', such as /etc/app.conf"),
		everyService(func(s wire) bool { return coveredFile(s) == "" }, func(s wire) string { return `, configs "` + coveredFile(s) + `"` },
			"a volume is mounted there, or a volume or another file is below it, and nothing can be below a file: choose another path"),
		everyService(func(s wire) bool {
			return !slices.ContainsFunc(slices.Collect(maps.Keys(s.Labels)), func(k string) bool {
				return k == "" || strings.HasPrefix(k, LabelPrefixes[0]) || strings.HasPrefix(k, LabelPrefixes[1])
			})
		}, field("labels"), "a label needs a key, and keys that begin with fleet.nationtech.io/ or io.nationtech.fleet. are the agent's own"),
	}
}

// textRules are about what no process, and no file, can be given.
func textRules() []rule {
	noNUL := func(name string, of func(wire) []string) rule {
		return everyService(func(s wire) bool {
			return !slices.ContainsFunc(of(s), func(v string) bool { return strings.Contains(v, "\x00") })
		}, field(name), saysNUL)
	}
	keys := func(m map[string]string) []string { return slices.Collect(maps.Keys(m)) }
	exec := func(s wire) []string {
		if s.HealthCheck == nil {
			return nil
		}
		return s.HealthCheck.Exec
	}
	program := func(name string, of func(wire) []string) rule {
		return everyService(func(s wire) bool { return len(of(s)) == 0 || of(s)[0] != "" }, field(name), saysProgram)
	}
	command := func(s wire) []string { return s.Command }
	return []rule{
		program("command", command),
		program("healthCheck.exec", exec),
		noNUL("command", command),
		noNUL("args", func(s wire) []string { return s.Args }),
		noNUL("healthCheck.exec", exec),
		noNUL("volumes", func(s wire) []string { return s.Volumes }),
		noNUL("env", func(s wire) []string { return keys(s.Env) }),
		noNUL("configs", func(s wire) []string { return keys(s.Configs) }),
		noNUL("labels", func(s wire) []string { return slices.AppendSeq(keys(s.Labels), maps.Values(s.Labels)) }),
	}
}

// placeRules are about where nothing is filled in for each device.
func placeRules() []rule {
	none := func(name string, of func(wire) []string) rule {
		return everyService(func(s wire) bool {
			return !slices.ContainsFunc(of(s), func(v string) bool { return strings.Contains(v, PlaceBegins) })
		}, field(name), saysPlace)
	}
	keys := func(m map[string]string) []string { return slices.Collect(maps.Keys(m)) }
	return []rule{
		none("env", func(s wire) []string { return keys(s.Env) }),
		none("configs", func(s wire) []string { return keys(s.Configs) }),
		none("labels", func(s wire) []string { return slices.AppendSeq(keys(s.Labels), maps.Values(s.Labels)) }),
		none("healthCheck.exec", func(s wire) []string {
			if s.HealthCheck == nil {
				return nil
			}
			return s.HealthCheck.Exec
		}),
		none("healthCheck.http.path", func(s wire) []string {
			if s.HealthCheck == nil || s.HealthCheck.HTTP == nil || s.HealthCheck.HTTP.Path == nil {
				return nil
			}
			return []string{*s.HealthCheck.HTTP.Path}
		}),
	}
}

func fieldRules() []rule {
	check := func(of func(*wireHealth) *string) func(wire) *string {
		return func(s wire) *string {
			if s.HealthCheck == nil {
				return nil
			}
			return of(s.HealthCheck)
		}
	}
	limit := func(of func(*wireResources) *string) func(wire) *string {
		return func(s wire) *string {
			if s.Resources == nil {
				return nil
			}
			return of(s.Resources)
		}
	}
	byHTTP := func(s wire) bool { return s.HealthCheck != nil && s.HealthCheck.HTTP != nil }
	among := func(names ...string) func(string) bool {
		return func(v string) bool { return slices.Contains(names, v) }
	}
	return []rule{
		eachField("network", func(s wire) *string { return s.Network }, among("bridge", "host", "none"),
			"the networks are bridge (the default), host and none"),
		eachField("restartPolicy", func(s wire) *string { return s.RestartPolicy }, among("Always", "OnFailure", "Never"),
			"the restart policies are Always (the default), OnFailure and Never"),
		eachField("pullPolicy", func(s wire) *string { return s.PullPolicy }, among("IfNotPresent", "Always", "Never"),
			"the pull policies are IfNotPresent (the default), Always and Never"),
		eachField("user", func(s wire) *string { return s.User }, isUser,
			`a user is a name or number, and optionally :group, such as "1000:1000"`),
		eachField("resources.memory", limit(func(r *wireResources) *string { return r.Memory }), isMemory,
			`memory is a whole number, alone in bytes or with Ki, Mi, Gi, k, m or g, which count in 1024s, up to 999999999Gi, such as "64Mi"`),
		eachField("resources.cpus", limit(func(r *wireResources) *string { return r.CPUs }), func(v string) bool {
			f, err := strconv.ParseFloat(v, 64)
			return isCPUs(v) && err == nil && f >= 0.01 && f <= 1000
		}, `cpus is a number of processors, from "0.01" to "1000", such as "0.5"`),
		eachNumber("resources.pids", func(s wire) *int64 {
			if s.Resources == nil {
				return nil
			}
			return s.Resources.PIDs
		}, func(n int64) bool { return n > 0 }, "pids is a number of processes above 0"),
		everyService(func(s wire) bool {
			return s.HealthCheck == nil || len(s.HealthCheck.Exec) > 0 != (s.HealthCheck.HTTP != nil)
		},
			field("healthCheck"), "a health check has exactly one of exec, as in exec: [/app, check], and http, as in http: {port: 80, path: /}"),
		everyService(func(s wire) bool {
			return !byHTTP(s) || s.HealthCheck.HTTP.Port != nil && *s.HealthCheck.HTTP.Port >= 1 && *s.HealthCheck.HTTP.Port <= 65535
		}, field("healthCheck.http"), "a health check by http needs the container's port, from 1 to 65535"),
		everyService(func(s wire) bool { return !byHTTP(s) || s.Network == nil || *s.Network != "none" },
			field("healthCheck.http"), "a container on network none can't be asked by http: write exec"),
		eachField("healthCheck.http.path", check(func(h *wireHealth) *string {
			if h.HTTP == nil {
				return nil
			}
			return h.HTTP.Path
		}), isURLPath, "the path of a health check begins with '/', has no control characters, and '%' only before two hexadecimal digits"),
		eachField("healthCheck.interval", check(func(h *wireHealth) *string { return h.Interval }), func(v string) bool {
			d, err := time.ParseDuration(v)
			return v != "" && isDuration(v) && err == nil && d >= MinInterval
		}, `an interval is a duration of at least 100ms, such as "10s" or "1m30s"`),
		eachField("healthCheck.startPeriod", check(func(h *wireHealth) *string { return h.StartPeriod }),
			func(v string) bool { return v != "" && isDuration(v) }, `a start period is a duration, such as "5s" or "1m30s"`),
		eachNumber("healthCheck.retries", func(s wire) *int32 {
			if s.HealthCheck == nil {
				return nil
			}
			return s.HealthCheck.Retries
		}, func(n int32) bool { return n >= 1 && n <= 1000 }, "retries is from 1 to 1000"),
	}
}

func sumRules() []rule {
	ports := func(services []wire) int {
		n := 0
		for _, s := range services {
			n += len(s.Ports)
		}
		return n
	}
	return []rule{
		ofScore(func(services []wire) bool { return ports(services) <= maxPorts },
			"a score can publish "+strconv.Itoa(maxPorts)+" ports at most"),
		{
			"the same host port twice in one score: give each its own, or write the container's port alone to take a free one",
			func(services []wire) (string, bool) {
				malformed := func(s wire) bool { return !all(s.Ports, isPort) }
				if ports(services) > maxPorts || slices.ContainsFunc(services, malformed) {
					return "", false // what is wrong is said already
				}
				return hostPortTwice(services)
			},
		},
		ofScore(func(services []wire) bool { return content(services) <= MaxContent },
			"a whole score must stay under 200 KiB, and the command, args, env, configs and labels alone have more: put large files into the image or a volume"),
	}
}

func all(texts []string, ok func(string) bool) bool {
	return !slices.ContainsFunc(texts, func(v string) bool { return !ok(v) })
}

// content is the number of characters in a score's free text.
func content(services []wire) int {
	n := 0
	for _, s := range services {
		for _, list := range [][]string{s.Command, s.Args} {
			for _, v := range list {
				n += utf8.RuneCountInString(v)
			}
		}
		for _, m := range []map[string]string{s.Env, s.Configs, s.Labels} {
			for _, v := range m {
				n += utf8.RuneCountInString(v)
			}
		}
	}
	return n
}
