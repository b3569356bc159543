package eventlog

import "fleet.nationtech.io/eventlog/plainjson"

// ReportedInfo decodes an info.reported as Info does, and reads the shape that
// agents write without reflection. What many devices say alike goes through keep.
func (e *Event) ReportedInfo(keep Keep) (DeviceInfo, error) {
	var i DeviceInfo
	if scanInfo(&i, e.Data, &e.Address, keep) {
		return i, i.check(&e.Address)
	}
	return e.Info()
}

var (
	infoFields      = plainjson.Fields{plainjson.StringField("device_id"), plainjson.OtherField("labels"), plainjson.OtherField("inventory"), plainjson.StringField("updated_at"), plainjson.StringField("key_expires")}
	inventoryFields = plainjson.Fields{
		plainjson.StringField("hostname"), plainjson.StringField("arch"), plainjson.StringField("os"), plainjson.StringField("kernel"), plainjson.OtherField("cpu_cores"), plainjson.OtherField("memory_mb"),
		plainjson.StringField("agent_version"), plainjson.StringField("podman_version"),
	}
)

// scanInfo reads a DeviceInfo in its plain shape, as scanState does a report.
func scanInfo(i *DeviceInfo, b []byte, a *Address, keep Keep) bool {
	p := plainjson.NewScanner(b)
	for f := p.Open(infoFields); f >= 0; f = p.Next(infoFields, f) {
		switch f {
		case 0:
			i.DeviceID = same(p.Tail(), a.Device)
		case 1:
			i.Labels = scanLabels(&p, i.Labels, keep)
		case 2:
			scanInventory(&p, &i.Inventory, keep)
		case 3:
			i.UpdatedAt = p.Time()
		case 4:
			i.KeyExpires = p.Time()
		}
	}
	return p.End()
}

// scanLabels adds to what another field of the same name said, as encoding/json does.
func scanLabels(p *plainjson.Scanner, to map[string]string, keep Keep) map[string]string {
	if p.Null() {
		return nil
	}
	if to == nil {
		to = map[string]string{}
	}
	for ok := p.Begin('{', '}'); ok; ok = p.More('}') {
		k := keep.text(p.Text())
		p.Take(':')
		to[k] = keep.text(p.Text())
	}
	return to
}

func scanInventory(p *plainjson.Scanner, i *Inventory, keep Keep) {
	for f := p.Open(inventoryFields); f >= 0; f = p.Next(inventoryFields, f) {
		switch f {
		case 0:
			i.Hostname = string(p.Tail()) // each has its own: not to be kept
		case 1:
			i.Arch = keep.text(p.Tail())
		case 2:
			i.OS = keep.text(p.Tail())
		case 3:
			i.Kernel = keep.text(p.Tail())
		case 4:
			i.CPUCores = int(p.Number())
		case 5:
			i.MemoryMB = int(p.Number())
		case 6:
			i.AgentVersion = keep.text(p.Tail())
		case 7:
			i.PodmanVersion = keep.text(p.Tail())
		}
	}
}
