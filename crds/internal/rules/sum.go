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

	// Two ports of a score may not listen in one place. The list of one gives the
	// lists of places, one a service, a name. A place that covers another begins it,
	// so that counting those that begin alike also finds addresses in all addresses.
	places := services + ".map(o, has(o.ports) ? o.ports.filter(q, " + hasHost("q") + ").map(q, " + placeOf("q") + ") : [])"
	free := "(!" + hasHost("p") + " || [" + placeOf("p") + "].all(h, t.map(l, l.filter(q, q.startsWith(h)).size()).sum() == 1))"

	content := services + ".map(s, " + sizeOf("command") + " + " + sizeOf("args") + " + " + valuesOf("env") + " + " + valuesOf("configs") + " + " + valuesOf("labels") + ").sum()"
	return apiextensionsv1.ValidationRules{
		rule(".data.services", otherType+" || "+fewPorts, "", "a score can publish "+strconv.Itoa(maxPorts)+" ports at most"),
		everyService(
			"!has(s.ports) || !("+fewPorts+") || ["+places+"].all(t, s.ports.all(p, "+free+"))",
			`', port "' + [`+places+`].map(t, s.ports.map(p, !`+free+`, p)[0])[0] + '"'`,
			"the same host port twice in one score: give each its own, or write the container's port alone to take a free one"),
		rule(".data.services", otherType+" || "+content+" <= "+strconv.Itoa(maxContent), "",
			"a whole score must stay under 200 KiB, and the command, args, env, configs and labels alone have more: put large files into the image or a volume"),
	}
}

func hasHost(p string) string { return p + ".contains(':')" }

// placeOf is where a port listens on the host, written such that the place of all
// addresses begins that of each: "8080:", and after it nothing for all addresses;
// " ." for all of IPv4, " .127.0.0.1 " for one of it; " [" for all of IPv6, " [::1]"
// for one. A port of UDP has "/udp" before those.
func placeOf(p string) string {
	host := p + `.find('[0-9]+:[0-9]+(/|$)').find('^[0-9]+:')`
	udp := p + ".find('/udp$')"
	four := p + `.find('^[0-9]+[.][0-9.]+')`
	six := p + `.find('^\\[.*\\]')`
	address := "(" + p + ".startsWith('0.0.0.0:') ? '.' : " + p + ".startsWith('[::]:') ? '[' : " +
		p + ".startsWith('[') ? " + six + " : " + p + ".contains('.') ? '.' + " + four + " + ' ' : '')"
	return "(" + host + " + " + udp + " + ' ' + " + address + ")"
}

func sizeOf(list string) string {
	return "(has(s." + list + ") ? s." + list + ".map(i, i.size()).sum() : 0)"
}

func valuesOf(m string) string {
	return "(has(s." + m + ") ? s." + m + ".map(k, s." + m + "[k].size()).sum() : 0)"
}
