package cluster

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"fleet.nationtech.io/eventlog/phrase"
)

// Level is how much a finding matters.
type Level string

// The levels.
const (
	Refuse Level = "refuse" // nothing is installed
	Warn   Level = "warn"   // it is installed, and a person should know
	Note   Level = "note"   // what was found and will be used
)

// Finding is one thing that preflight has to say.
type Finding struct {
	Level    Level  `json:"level"`
	Sentence string `json:"sentence"`
	Remedy   string `json:"remedy,omitempty"`
}

// Expose is how devices outside reach NATS.
type Expose string

// The ways.
const (
	ExposeRoute        Expose = "route"
	ExposeIngress      Expose = "ingress"
	ExposeHTTPRoute    Expose = "httpRoute"
	ExposeLoadBalancer Expose = "loadBalancer"
	ExposeNodePort     Expose = "nodePort"
	ExposeNone         Expose = "none"
)

// Wish is what an installation needs of the cluster.
type Wish struct {
	Servers      int    // NATS servers
	Apart        bool   // each on a node of its own, or it does not start
	StorageClass string // of their claims; empty: the cluster's default one
	Storage      bool   // claims are made at all
	Expose       Expose
	Host         string // the name or address by which devices come; empty: not known
	IngressClass string // empty: the cluster's default one
	// DashboardIngress says whether persons reach the dashboard by an Ingress, of the class
	// DashboardClass; empty: the cluster's default one.
	DashboardIngress bool
	DashboardClass   string
	Architectures    []string // of which there are images; empty: not known
	Lacking          []Right
}

const (
	// The CRDs' rules need CEL, general since 1.29; the policies 1.30.
	leastMajor, leastMinor = 1, 30
	// Tokens and certificates are judged by clocks.
	mostSkew = 5 * time.Second
)

// Preflight says what of a cluster stands in the way of a wish, what a person should
// know, and what will be used. The gravest come first.
func Preflight(f Facts, w Wish) []Finding {
	var all []Finding
	say := func(level Level, remedy, format string, args ...any) {
		all = append(all, Finding{level, fmt.Sprintf(format, args...), remedy})
	}
	say(Note, "", "The cluster at %s is %s %s.", f.Server, f.Distribution, f.Version)
	if old, is := TooOld(f); is {
		all = append(all, old)
	}
	all = append(all, LackingFindings(w.Lacking)...)
	namespace(f, say)
	nodes(f, w, say)
	storage(f, w, say)
	exposure(f, w, say)
	if w.DashboardIngress {
		ingress(f, w.DashboardClass, "operator.dashboard.ingress", "use --set operator.dashboard.ingress.enabled=false", say)
	}
	if f.Skew.Abs() > mostSkew {
		say(Warn, "Have both follow a time server: tokens and certificates are judged by clocks.",
			"The API server's clock is %s %s this machine's.", f.Skew.Abs().Round(time.Second), direction(f.Skew))
	}
	for _, u := range f.Unread {
		say(Warn, "Ask the cluster's administrator for the right to read it, or make sure of it yourself.", "The cluster's %s could not be read: %v.", u.What, u.Err)
	}
	order := []Level{Refuse, Warn, Note}
	slices.SortStableFunc(all, func(a, b Finding) int { return slices.Index(order, a.Level) - slices.Index(order, b.Level) })
	return all
}

// TooOld refuses a cluster on which neither the CRDs nor the chart can be tried.
func TooOld(f Facts) (Finding, bool) {
	if f.Major > leastMajor || f.Major == leastMajor && f.Minor >= leastMinor {
		return Finding{}, false
	}
	return Finding{
		Level:    Refuse,
		Sentence: fmt.Sprintf("The cluster's version is %s. The CRDs need Kubernetes %d.%d or newer.", f.Version, leastMajor, leastMinor),
		Remedy:   fmt.Sprintf("Upgrade the cluster to Kubernetes %d.%d or newer.", leastMajor, leastMinor),
	}, true
}

type sayer func(level Level, remedy, format string, args ...any)

func direction(skew time.Duration) string {
	if skew > 0 {
		return "ahead of"
	}
	return "behind"
}

// LackingFindings refuses for rights that are missing: one finding for the whole cluster,
// and one for each namespace.
func LackingFindings(lack []Right) []Finding {
	var all []Finding
	scopes := map[string]map[string][]string{} // by namespace and resource: verbs
	for _, r := range lack {
		if scopes[r.Namespace] == nil {
			scopes[r.Namespace] = map[string][]string{}
		}
		scopes[r.Namespace][r.what()] = append(scopes[r.Namespace][r.what()], r.Verb)
	}
	for _, namespace := range slices.Sorted(maps.Keys(scopes)) {
		var lacking []string
		for _, what := range slices.Sorted(maps.Keys(scopes[namespace])) {
			lacking = append(lacking, strings.Join(scopes[namespace][what], " and ")+" "+what)
		}
		where := "in the whole cluster"
		if namespace != "" {
			where = "in namespace " + namespace
		}
		all = append(all, Finding{
			Level: Refuse, Sentence: fmt.Sprintf("You lack rights %s: %s.", where, strings.Join(lacking, ", ")),
			Remedy: "Ask the cluster's administrator for these rights, or do it as somebody who has them; a cluster-admin has all of them.",
		})
	}
	return all
}

func namespace(f Facts, say sayer) {
	switch n := f.Namespace; {
	case n.Ending:
		say(Refuse, "Wait until it is gone, then install again.", "Namespace %s is being deleted.", n.Name)
	case n.Name == "default" || strings.HasPrefix(n.Name, "kube-") || strings.HasPrefix(n.Name, "openshift-"):
		say(Refuse, "Use a namespace of the fleet's own: --namespace fleet-system.", "Namespace %s is the cluster's own.", n.Name)
	case n.Exists && n.Enforce == "" && n.Manager == "":
		say(Warn, "Use a namespace of the fleet's own, or label this one with the level that its pods need: pod-security.kubernetes.io/enforce.",
			"Namespace %s is there already, and gets Pod Security \"restricted\". Other pods in it that do not fit are not started again.", n.Name)
	}
}

func nodes(f Facts, w Wish, say sayer) {
	have := f.Schedulable()
	switch {
	case len(f.Nodes) == 0: // not readable; said already
	case have == 0:
		say(Refuse, "Make a node ready, or uncordon one: kubectl get nodes.", "None of the cluster's nodes takes pods.")
	case have < w.Servers && w.Apart:
		say(Refuse, "Add nodes, or use --profile lab. To have servers share nodes: --set nats.spread=ScheduleAnyway.",
			"%s for %d NATS servers, each of which needs a node of its own.", phrase.Number(have, "node takes pods", "nodes take pods"), w.Servers)
	case have < w.Servers:
		say(Warn, "For production add nodes. For a lab use --profile lab.",
			"%s for %d NATS servers. Servers that share a node are lost with it together.", phrase.Number(have, "node takes pods", "nodes take pods"), w.Servers)
	default:
		say(Note, "", "%s.", phrase.Number(have, "node takes pods", "nodes take pods"))
	}
	if len(w.Architectures) == 0 {
		return
	}
	for _, a := range f.Architectures() {
		if !slices.Contains(w.Architectures, a) {
			say(Refuse, "Build the images for it: make images PLATFORMS=linux/"+a+".", "Nodes of the cluster are %s, and the images are for %s.", a, strings.Join(w.Architectures, ", "))
		}
	}
}

func storage(f Facts, w Wish, say sayer) {
	if !w.Storage || f.unread("storage classes") {
		return
	}
	names := make([]string, len(f.StorageClasses))
	for i, c := range f.StorageClasses {
		names[i] = c.Name
	}
	found := "The cluster has none."
	if len(names) > 0 {
		found = "The cluster has " + strings.Join(names, ", ") + "."
	}
	class, isDefault := f.DefaultStorage()
	switch {
	case w.StorageClass != "" && !slices.Contains(names, w.StorageClass):
		say(Refuse, "Name one that is there: --set nats.storage.class=NAME.", "There is no storage class %s. %s", w.StorageClass, found)
		return
	case w.StorageClass != "":
		class = f.StorageClasses[slices.Index(names, w.StorageClass)]
	case !isDefault && len(names) == 0:
		say(Refuse, "Install a provisioner of volumes, such as local-path-provisioner for a lab.",
			"The cluster has no storage class, and NATS keeps the event log on a volume.")
		return
	case !isDefault:
		say(Refuse, "Choose one: --set nats.storage.class="+names[0]+".", "None of the cluster's storage classes is the default one. %s", found)
		return
	}
	say(Note, "", "NATS keeps the event log on volumes of storage class %s.", class.Name)
	if class.Provisioner == "rancher.io/local-path" {
		say(Warn, "For production use a storage class whose volumes can move, or three nodes with a server each.",
			"Storage class %s binds each volume to one node and does not enforce sizes: a NATS server cannot move with its data, and a full disk of the node is a full event log.", class.Name)
	}
}

func exposure(f Facts, w Wish, say sayer) {
	switch w.Expose {
	case ExposeRoute:
		if !f.Has(GroupRoute) {
			say(Refuse, "Use --set devices.expose=ingress, loadBalancer or nodePort.", "The cluster serves no Routes.")
		}
	case ExposeHTTPRoute:
		if !f.Has(GroupGateway) {
			say(Refuse, "Install a Gateway API implementation, or use --set devices.expose=ingress, loadBalancer or nodePort.", "The cluster serves no HTTPRoutes.")
		}
	case ExposeIngress:
		ingress(f, w.IngressClass, "devices.ingress", "use --set devices.expose=nodePort or loadBalancer", say)
	case ExposeNone:
		say(Note, "", "Devices outside the cluster cannot reach NATS: nothing exposes it.")
	case ExposeLoadBalancer, ExposeNodePort:
		if w.Host == "" {
			say(Warn, "Give the name or address that devices use: --set devices.host=devices.example.com.",
				"devices.host is empty. The servers' certificate will not hold for devices outside the cluster, and the check at the end leaves their way out.")
		}
	}
}

// ingress looks for the class of an Ingress, which the value VALUE.className names.
func ingress(f Facts, class, value, otherwise string, say sayer) {
	if f.unread("ingress classes") {
		return
	}
	names := make([]string, len(f.IngressClasses))
	def := ""
	for i, c := range f.IngressClasses {
		names[i] = c.Name
		if c.Default {
			def = c.Name
		}
	}
	switch {
	case len(names) == 0:
		say(Refuse, "Install an ingress controller, or "+otherwise+".", "The cluster has no ingress controller.")
	case class != "" && !slices.Contains(names, class):
		say(Refuse, "Name one that is there: --set "+value+".className=NAME.", "There is no ingress class %s. The cluster has %s.", class, strings.Join(names, ", "))
	case class == "" && def == "":
		say(Refuse, "Choose one: --set "+value+".className="+names[0]+".", "None of the cluster's ingress classes is the default one. The cluster has %s.", strings.Join(names, ", "))
	}
}

func (f Facts) unread(what string) bool {
	return slices.ContainsFunc(f.Unread, func(u Unread) bool { return u.What == what })
}
