package rules

import (
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// services is the list that the rules of a score go over.
const services = "self.data.services"

// otherType is true for a score that the rules don't concern: they hold only
// for type PodmanV0.
const otherType = "self.type != 'PodmanV0' || !has(self.data) || !has(" + services + ")"

// nameOf is a CEL expression: what to call service s in a message.
const nameOf = "(has(s.name) && s.name != '' ? s.name : '(no name)')"

// Score returns the rules of spec.score. They stand there and not on each
// field, because only there the score's type is known.
//
// fleet.nationtech.io/eventlog/score has the same list in Go, in the same order and
// with the same words, by which the operator and the agents read a score: what is
// changed here is changed there. A test in deploy/lint holds them against each other.
func Score() apiextensionsv1.ValidationRules {
	return slices.Concat(podmanServices(), podmanLists(), podmanTexts(), podmanFields(), podmanSums(), podmanPlaces())
}

// everyService makes a rule that each service must keep. ok is CEL about s;
// shows is a CEL string that says what is wrong with s.
func everyService(ok, shows, says string) apiextensionsv1.ValidationRule {
	return rule(".data.services",
		otherType+" || "+services+".all(s, "+ok+")",
		services+".map(s, !("+ok+"), 'service ' + "+nameOf+" + "+shows+")[0]",
		says)
}

// everyItem makes a rule that each string of a service's list must keep.
func everyItem(field, ok, says string) apiextensionsv1.ValidationRule {
	list := "s." + field
	return everyService(
		"!has("+list+") || "+list+".all(i, "+ok+")",
		`', `+field+` "' + `+list+`.map(i, !(`+ok+`), i)[0] + '"'`,
		says)
}

// eachField makes a rule about an optional string of a service, or below one,
// such as resources.memory. ok is CEL about v.
func eachField(field, ok, says string) apiextensionsv1.ValidationRule {
	value := "s." + field
	// The list of one gives the value a name.
	return everyService(
		"!"+present(field)+" || ["+value+"].all(v, "+ok+")",
		`', `+field+` "' + `+value+` + '"'`,
		says)
}

// eachNumber is eachField for a number, which the message leaves out: the API
// server doesn't bound the length of a number as text.
func eachNumber(field, ok, says string) apiextensionsv1.ValidationRule {
	return everyService("!"+present(field)+" || [s."+field+"].all(v, "+ok+")", "', "+field+"'", says)
}

// present is a CEL expression: is the field there, and all that it is below?
func present(field string) string {
	steps := strings.Split(field, ".")
	for i := range steps {
		steps[i] = "has(s." + strings.Join(strings.Split(field, ".")[:i+1], ".") + ")"
	}
	return "(" + strings.Join(steps, " && ") + ")"
}

func podmanServices() apiextensionsv1.ValidationRules {
	return apiextensionsv1.ValidationRules{
		rule(".data",
			"self.type != 'PodmanV0' || (has(self.data) && has("+services+") && "+services+".size() > 0)",
			"",
			"a PodmanV0 score needs at least one service, as in data: {services: [{name: web, image: docker.io/library/nginx:1.27}]}"),
		everyService("has(s.name) && "+matches("s.name", LabelPattern),
			"''",
			"each service needs a name: a label of lower-case letters, digits and '-', at most 63 characters, a letter or digit first and last"),
		everyService("!has(s.name) || "+services+".exists_one(o, has(o.name) && o.name == s.name)",
			"''",
			"the names of a score's services must be unique"),
		everyService("has(s.image) && s.image != ''",
			"''",
			"each service needs an image, such as docker.io/library/nginx:1.27"),
		eachField("image", "v == '' || "+matches("v", ImagePattern),
			"not an image reference: write [registry[:port]/]repository[:tag][@digest], without spaces and with the repository in lower case, such as docker.io/library/nginx:1.27"),
	}
}

func podmanLists() apiextensionsv1.ValidationRules {
	filePath := matches("k", FilePattern)
	const envName = "k != '' && !k.contains('=')"
	const address = "i.find('^\\\\[[^\\\\]]*').replace('[', '')"
	alone := "(" + targetOf + " == '' || t.filter(o, o == " + targetOf + ").size() == 1)"
	const uncovered = "(!s.configs.exists(o, o.startsWith(k + '/')) && !t.exists(o, o == ':' + k || o.startsWith(':' + k + '/')))"
	const capability = "a Linux capability in capitals, such as NET_ADMIN, or ALL"
	return apiextensionsv1.ValidationRules{
		everyItem("ports", matches("i", PortPattern),
			"a port is \"CONTAINER\", \"HOST:CONTAINER\" or \"IP:HOST:CONTAINER\", each from 1 to 65535, and optionally /tcp or /udp, such as \"8080:80\""),
		everyItem("ports", "!i.startsWith('[') || ["+address+"].all(a, isIP(a) && ip(a).family() == 6 && ip.isCanonical(a))",
			"an IPv6 address is written in its shortest form, such as \"[::1]:8080:80\""),
		everyService("!has(s.ports) || s.ports.size() == 0 || !has(s.network) || !(s.network in ['host', 'none'])",
			"', network ' + s.network",
			"only the network bridge publishes ports: leave ports out (on network host the container has the device's own) or leave network out"),
		everyItem("volumes", matches("i", VolumePattern),
			"a volume is \"NAME:/path\" or \"/host/path:/path\", and optionally options after it, such as \"data:/data:ro\""),
		everyItem("volumes", "!"+finds("i", UncleanPattern),
			"the path in the container is written without '//', '.' and '..'"),
		everyItem("volumes", "!"+finds("i", OptionsPattern),
			"one at most of each of these can be given: ro and rw, z and Z, exec and noexec, suid and nosuid, dev and nodev, copy and nocopy, bind and rbind, (r)shared, (r)slave and (r)private"),
		everyService("!has(s.volumes) || "+targets+".all(t, s.volumes.all(i, "+alone+"))",
			`', volumes "' + `+targets+`.map(t, s.volumes.map(i, !(`+alone+`), i)[0])[0] + '"'`,
			"two volumes are mounted at one path: give each its own"),
		everyItem("capAdd", matches("i", CapabilityPattern), capability),
		everyItem("capDrop", matches("i", CapabilityPattern), capability),
		everyService("!has(s.env) || s.env.all(k, "+envName+")",
			`', env "' + s.env.map(k, !(`+envName+`), k)[0] + '"'`,
			"the name of an environment variable is not empty and has no '='"),
		everyService("!has(s.configs) || s.configs.all(k, "+filePath+")",
			`', configs "' + s.configs.map(k, !(`+filePath+`), k)[0] + '"'`,
			"each key is the absolute path of a file in the container, without '//', '.' and '..', such as /etc/app.conf"),
		everyService("!has(s.configs) || "+targets+".all(t, s.configs.all(k, "+uncovered+"))",
			`', configs "' + `+targets+`.map(t, s.configs.map(k, !(`+uncovered+`), k)[0])[0] + '"'`,
			"a volume is mounted there, or a volume or another file is below it, and nothing can be below a file: choose another path"),
		everyService("!has(s.labels) || s.labels.all(k, k != '' && !k.startsWith('fleet.nationtech.io/') && !k.startsWith('io.nationtech.fleet.'))",
			"', labels'",
			"a label needs a key, and keys that begin with fleet.nationtech.io/ or io.nationtech.fleet. are the agent's own"),
	}
}

// targetOf is where volume i is mounted, with a colon before it and without a slash
// at its end; targets is a list of one, the list of where a service's are, so that
// it has a name.
const (
	targetOf = "i.find(':/[^:]*[^:/]')"
	targets  = "[has(s.volumes) ? s.volumes.map(i, " + targetOf + ") : []]"
)

// podmanTexts are about what no process, and no file, can be given. The values of
// env have a pattern in the schema instead: there are too many for a rule.
func podmanTexts() apiextensionsv1.ValidationRules {
	const nul = "no process and no file can be given a NUL character (\\u0000): leave it out"
	const program = "the first item is the program to run, which cannot be empty"
	first := func(field string) apiextensionsv1.ValidationRule {
		list := "s." + field
		return everyService("!"+present(field)+" || "+list+".size() == 0 || "+list+"[0] != ''", "', "+field+"'", program)
	}
	without := func(field string) apiextensionsv1.ValidationRule {
		return everyService("!"+present(field)+" || s."+field+".all(i, !i.contains('\\u0000'))", "', "+field+"'", nul)
	}
	return apiextensionsv1.ValidationRules{
		first("command"),
		first("healthCheck.exec"),
		without("command"),
		without("args"),
		without("healthCheck.exec"),
		without("volumes"),
		without("env"),
		without("configs"),
		everyService("!has(s.labels) || s.labels.all(k, !k.contains('\\u0000') && !s.labels[k].contains('\\u0000'))", "', labels'", nul),
	}
}

// podmanPlaces are about where nothing is filled in for each device. What is filled in
// has a pattern in the schema, for there is too much of it for a rule.
func podmanPlaces() apiextensionsv1.ValidationRules {
	const says = "$(device.id) and $(device.labels.KEY) are filled in in image, command, args, volumes and the values of env and configs alone: write them there"
	const begins = ".contains('$(device.')"
	none := func(field, ok string) apiextensionsv1.ValidationRule {
		return everyService("!"+present(field)+" || "+ok, "', "+field+"'", says)
	}
	return apiextensionsv1.ValidationRules{
		none("env", "s.env.all(k, !k"+begins+")"),
		none("configs", "s.configs.all(k, !k"+begins+")"),
		none("labels", "s.labels.all(k, !k"+begins+" && !s.labels[k]"+begins+")"),
		none("healthCheck.exec", "s.healthCheck.exec.all(i, !i"+begins+")"),
		none("healthCheck.http.path", "!s.healthCheck.http.path"+begins),
	}
}

// filledIn are the fields whose text is filled in for each device.
func filledIn() []place {
	var places []place
	put := func(pattern string) func(*schema) {
		return func(s *schema) { s.Pattern = "^(?:" + pattern + ")$" }
	}
	for _, field := range []string{"image", "command[]", "args[]", "volumes[]", "configs{}"} {
		places = append(places, inService(field, put(FilledPattern)))
	}
	// No process can be given a NUL.
	return append(places, inService("env{}", put(strings.ReplaceAll(FilledPattern, "[^$", `[^\x00$`))))
}

func inService(field string, put func(*schema)) place {
	return place{"spec.score.data.services[]." + field, put}
}

func podmanFields() apiextensionsv1.ValidationRules {
	return apiextensionsv1.ValidationRules{
		eachField("network", "v in ['bridge', 'host', 'none']",
			"the networks are bridge (the default), host and none"),
		eachField("restartPolicy", "v in ['Always', 'OnFailure', 'Never']",
			"the restart policies are Always (the default), OnFailure and Never"),
		eachField("pullPolicy", "v in ['IfNotPresent', 'Always', 'Never']",
			"the pull policies are IfNotPresent (the default), Always and Never"),
		eachField("user", matches("v", UserPattern),
			"a user is a name or number, and optionally :group, such as \"1000:1000\""),
		eachField("resources.memory", matches("v", MemoryPattern),
			"memory is a whole number, alone in bytes or with Ki, Mi, Gi, k, m or g, which count in 1024s, up to 999999999Gi, such as \"64Mi\""),
		eachField("resources.cpus", matches("v", CPUPattern)+" && double(v) >= 0.01 && double(v) <= 1000.0",
			"cpus is a number of processors, from \"0.01\" to \"1000\", such as \"0.5\""),
		eachNumber("resources.pids", "v > 0",
			"pids is a number of processes above 0"),
		everyService("!has(s.healthCheck) || ((has(s.healthCheck.exec) && s.healthCheck.exec.size() > 0) != has(s.healthCheck.http))",
			"', healthCheck'",
			"a health check has exactly one of exec, as in exec: [/app, check], and http, as in http: {port: 80, path: /}"),
		everyService("!"+present("healthCheck.http")+" || (has(s.healthCheck.http.port) && s.healthCheck.http.port >= 1 && s.healthCheck.http.port <= 65535)",
			"', healthCheck.http'",
			"a health check by http needs the container's port, from 1 to 65535"),
		everyService("!"+present("healthCheck.http")+" || !has(s.network) || s.network != 'none'",
			"', healthCheck.http'",
			"a container on network none can't be asked by http: write exec"),
		eachField("healthCheck.http.path", matches("v", URLPathPattern),
			"the path of a health check begins with '/', has no control characters, and '%' only before two hexadecimal digits"),
		eachField("healthCheck.interval", "v != '' && "+matches("v", DurationPattern)+" && duration(v) >= duration('100ms')",
			"an interval is a duration of at least 100ms, such as \"10s\" or \"1m30s\""),
		eachField("healthCheck.startPeriod", "v != '' && "+matches("v", DurationPattern),
			"a start period is a duration, such as \"5s\" or \"1m30s\""),
		eachNumber("healthCheck.retries", "v >= 1 && v <= 1000",
			"retries is from 1 to 1000"),
	}
}
