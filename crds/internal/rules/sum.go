package rules

import (
	"strconv"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

const (
	// maxPorts is the most ports of a whole score; comparing each with each must
	// stay cheap.
	maxPorts = 100
	// maxContent is the most characters in a score's free text. The whole score
	// must stay under 200 KiB as JSON, which the operator measures exactly; this
	// refuses at once what can't fit.
	maxContent = 190 << 10
)

// podmanSums are the rules that go over all services at once.
func podmanSums() apiextensionsv1.ValidationRules {
	fewPorts := services + ".map(s, has(s.ports) ? s.ports.size() : 0).sum() <= " + strconv.Itoa(maxPorts)

	// What two ports of a score may not have in common is their host part. The
	// list of one gives the lists of host parts, one a service, a name.
	hostParts := services + ".map(o, has(o.ports) ? o.ports.filter(q, " + hasHost("q") + ").map(q, " + hostPart("q") + ") : [])"
	free := "(!" + hasHost("p") + " || [" + hostPart("p") + "].all(h, t.map(l, l.filter(q, q == h).size()).sum() == 1))"

	content := services + ".map(s, " + sizeOf("command") + " + " + sizeOf("args") + " + " + valuesOf("env") + " + " + valuesOf("configs") + " + " + valuesOf("labels") + ").sum()"
	return apiextensionsv1.ValidationRules{
		rule(".data.services", otherType+" || "+fewPorts, "", "a score can publish "+strconv.Itoa(maxPorts)+" ports at most"),
		everyService(
			"!has(s.ports) || !("+fewPorts+") || ["+hostParts+"].all(t, s.ports.all(p, "+free+"))",
			`', port "' + [`+hostParts+`].map(t, s.ports.map(p, !`+free+`, p)[0])[0] + '"'`,
			"the same host port twice in one score: give each its own, or write the container's port alone to take a free one"),
		rule(".data.services", otherType+" || "+content+" <= "+strconv.Itoa(maxContent), "",
			"a whole score must stay under 200 KiB, and the command, args, env, configs and labels alone have more: put large files into the image or a volume"),
	}
}

func hasHost(p string) string { return p + ".contains(':')" }

// hostPart cuts out the container's port, and the protocol where it is tcp:
// "127.0.0.1:8080:80/udp" has "127.0.0.1:8080:/udp".
func hostPart(p string) string {
	return p + ".replace('/tcp', '').find('^.*:') + " + p + ".find('/udp$')"
}

func sizeOf(list string) string {
	return "(has(s." + list + ") ? s." + list + ".map(i, i.size()).sum() : 0)"
}

func valuesOf(m string) string {
	return "(has(s." + m + ") ? s." + m + ".map(k, s." + m + "[k].size()).sum() : 0)"
}
