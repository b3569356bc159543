package promtest

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"fleet.nationtech.io/deploy/grafana/promtest/draw"
)

var update = flag.Bool("update", false, "draw the pictures of the docs anew")

func TestThePicturesAreWhatTheRecordingGives(t *testing.T) {
	r := recorded(t)
	for name, paint := range map[string]func(*testing.T, recording) *draw.Canvas{"rollouts": paintRollouts, "fleet": paintFleet} {
		svg := paint(t, r).SVG()
		file := "../../../docs/pictures/" + name + ".svg"
		if *update {
			if err := os.WriteFile(file, svg, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		was, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(was, svg) {
			t.Errorf("%s is not what the dashboards show of the recording: go test -run %s -update draws it anew", file, t.Name())
		}
	}
}

const (
	pageWidth = 1240
	gap       = 10
)

// across gives n boxes beside each other.
func across(n int, y, h float64) []draw.Box {
	w := (pageWidth - gap*float64(n+1)) / float64(n)
	boxes := make([]draw.Box, n)
	for i := range boxes {
		boxes[i] = draw.Box{X: gap + float64(i)*(w+gap), Y: y, W: w, H: h}
	}
	return boxes
}

func paintRollouts(t *testing.T, r recording) *draw.Canvas {
	a := newArtist(t, r, "rollouts")
	const web = `deployment_namespace="default",deployment_name="web"`
	moment := a.since(`fleet_rollout_devices{`+web+`,standing="failed"} > 0`) + 6
	a.marks = []draw.Mark{
		{At: moment, Label: "the figures above", Colour: "text"},
		{At: a.since(`fleet_rollout_phase{` + web + `,phase="RolledBack"} == 1`), Label: "RolledBack", Colour: "text"},
		{At: a.since(`fleet_rollout_revision{` + web + `} == 3`), Label: "revision 3", Colour: "text"},
		{At: a.since(`fleet_rollout_phase{` + web + `,phase="Completed"} == 1 and ignoring (phase) fleet_rollout_revision{` + web + `} == 3`), Label: "Completed", Colour: "text"},
	}
	c := draw.New(pageWidth, 820)
	c.Text(gap, 26, 17, "text", "Rollouts: default/web, recorded from 200 agents. Drawn by the tests, and not by Grafana.")
	for i, b := range across(6, 40, 90) {
		a.figure(c, b, []string{"Phase", "Waits for", "Failed devices", "Healthy devices", "Batch", "Unavailable"}[i], moment)
	}
	first := across(2, 140, 300)
	a.chart(c, first[0], "Devices by standing", true)
	a.chart(c, first[1], "Unavailable devices and their limit", false)
	second := across(2, 450, 260)
	a.chart(c, second[0], "Devices of the open batch", true)
	a.chart(c, second[1], "Time by what the batch waits for", true)
	a.timeline(c, across(1, 720, 90)[0], "Phase over time")
	return c
}

func paintFleet(t *testing.T, r recording) *draw.Canvas {
	a := newArtist(t, r, "fleet")
	moment := a.since(`fleet_rollout_waiting{deployment_name="api",reason="AwaitingApproval"} == 1 and ignoring (deployment_name, reason) fleet_rollout_waiting{deployment_name="cart",reason="BatchFailed"} == 1`) + 20
	c := draw.New(pageWidth, 640)
	c.Text(gap, 26, 17, "text", "Fleet, recorded from 200 agents while one rollout is paused. Drawn by the tests, and not by Grafana.")
	for i, b := range across(6, 40, 90) {
		a.figure(c, b, []string{"Rollouts that need a person", "Rollouts on their way", "Devices online", "Devices offline", "Deployments failed on devices", "Operator leads"}[i], moment)
	}
	a.table(c, across(1, 140, 140)[0], "Rollouts, those that need a person first", moment)
	a.timeline(c, across(1, 290, 140)[0], "Phases of rollouts")
	last := across(2, 440, 190)
	a.chart(c, last[0], "Deployments on devices", true)
	a.chart(c, last[1], "From assignment to running", false)
	return c
}
