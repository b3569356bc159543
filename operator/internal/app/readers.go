package app

import (
	"fleet.nationtech.io/operator/internal/checkpointer"
	"fleet.nationtech.io/operator/internal/lag"
	"fleet.nationtech.io/operator/internal/sealer"
	"fleet.nationtech.io/operator/internal/state"
)

// readers are those who read the log in each replica, apart from the dashboard.
func readers(known *state.Fold, seals *sealer.Sealer, checkpoints *checkpointer.Checkpointer) []lag.Reader {
	return []lag.Reader{
		{
			Metric: "fleet_operator_fold_lag_seconds",
			Help:   "Age of the oldest event of the log that this replica has not folded; 0 where it has folded all.",
			Reading: func() (lag.Reading, bool) {
				at, _ := known.Position("")
				return lag.Reading{LogID: at.LogID, Sequence: at.Sequence}, true
			},
		},
		{
			Metric: "fleet_operator_seal_lag_seconds", Reading: seals.Reading,
			Help: "Age of the oldest event of the log that no seal covers; 0 where a seal covers all. The operator that leads says it.",
		},
		{
			Metric: "fleet_operator_checkpoint_lag_seconds", Reading: checkpoints.Reading,
			Help: "Age of the oldest event of the log after the newest checkpoint, from which an operator that starts goes on; 0 where there is none. The operator that leads says it.",
		},
	}
}
