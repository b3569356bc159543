package signin

import "github.com/prometheus/client_golang/prometheus"

// Results of sign-ins.
const (
	resultDone     = "done"
	resultRefused  = "refused"        // by the auth callout
	resultProvider = "provider"       // the identity provider refused, or did not answer
	resultMismatch = "state_mismatch" // the answer belongs to no sign-in that this browser began
	resultFailed   = "failed"         // NATS did not answer, or there were too many
)

type metrics struct {
	signIns  *prometheus.CounterVec
	signOuts prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		signIns: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fleet_dashboard_sign_ins_total", Help: "Sign-ins to the dashboard that came back from the identity provider, by result: done, refused, provider, state_mismatch, failed.",
		}, []string{"result"}),
		signOuts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fleet_dashboard_sign_outs_total", Help: "Sign-outs from the dashboard.",
		}),
	}
	reg.MustRegister(m.signIns, m.signOuts)
	for _, r := range []string{resultDone, resultRefused, resultProvider, resultMismatch, resultFailed} {
		m.signIns.WithLabelValues(r)
	}
	return m
}
