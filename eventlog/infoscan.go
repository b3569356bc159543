package eventlog

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
	infoFields      = fields{stringField("device_id"), otherField("labels"), otherField("inventory"), stringField("updated_at")}
	inventoryFields = fields{
		stringField("hostname"), stringField("arch"), stringField("os"), stringField("kernel"), otherField("cpu_cores"), otherField("memory_mb"),
		stringField("agent_version"), stringField("podman_version"),
	}
)

// scanInfo reads a DeviceInfo in its plain shape, as scanState does a report.
func scanInfo(i *DeviceInfo, b []byte, a *Address, keep Keep) bool {
	p := newScanner(b)
	for f := p.open(infoFields); f >= 0; f = p.next(infoFields, f) {
		switch f {
		case 0:
			i.DeviceID = same(p.tail(), a.Device)
		case 1:
			i.Labels = scanLabels(&p, i.Labels, keep)
		case 2:
			scanInventory(&p, &i.Inventory, keep)
		case 3:
			i.UpdatedAt = p.time()
		}
	}
	return p.end()
}

// scanLabels adds to what another field of the same name said, as encoding/json does.
func scanLabels(p *scanner, to map[string]string, keep Keep) map[string]string {
	if p.null() {
		return nil
	}
	if to == nil {
		to = map[string]string{}
	}
	for ok := p.begin('{', '}'); ok; ok = p.more('}') {
		k := keep.text(p.text())
		p.take(':')
		to[k] = keep.text(p.text())
	}
	return to
}

func scanInventory(p *scanner, i *Inventory, keep Keep) {
	for f := p.open(inventoryFields); f >= 0; f = p.next(inventoryFields, f) {
		switch f {
		case 0:
			i.Hostname = string(p.tail()) // each has its own: not to be kept
		case 1:
			i.Arch = keep.text(p.tail())
		case 2:
			i.OS = keep.text(p.tail())
		case 3:
			i.Kernel = keep.text(p.tail())
		case 4:
			i.CPUCores = int(p.number())
		case 5:
			i.MemoryMB = int(p.number())
		case 6:
			i.AgentVersion = keep.text(p.tail())
		case 7:
			i.PodmanVersion = keep.text(p.tail())
		}
	}
}
