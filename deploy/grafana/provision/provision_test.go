package provision_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/deploy/grafana/provision"
	"fleet.nationtech.io/deploy/grafana/rules"
)

// made are the folders whose files are all made.
var made = []string{"dashboards", "kubernetes", "provisioning"}

func TestTheFilesAreWhatIsMade(t *testing.T) {
	files, err := provision.Files(rules.DefaultRunbooks)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range files {
		got, err := os.ReadFile(filepath.Join("..", path))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what make generate makes", path)
		}
	}
	for _, dir := range made {
		err := filepath.WalkDir(filepath.Join("..", dir), func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			if name := strings.TrimPrefix(filepath.ToSlash(path), "../"); files[name] == nil {
				t.Errorf("%s is made by nobody", name)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// strictly reads YAML into a value whose type is the schema.
func strictly(t *testing.T, b []byte, into any) {
	t.Helper()
	if err := yaml.UnmarshalStrict(b, into); err != nil {
		t.Fatal(err)
	}
}

func files(t *testing.T) map[string][]byte {
	t.Helper()
	all, err := provision.Files(rules.DefaultRunbooks)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Grafana documents these members: grafana.com/docs/grafana/latest/administration/provisioning.
func TestProvisioningIsOfGrafanasSchema(t *testing.T) {
	var sources struct {
		APIVersion  int `json:"apiVersion"`
		Datasources []struct {
			Name           string            `json:"name"`
			Type           string            `json:"type"`
			UID            string            `json:"uid"`
			Access         string            `json:"access"`
			OrgID          int               `json:"orgId"`
			URL            string            `json:"url"`
			IsDefault      bool              `json:"isDefault"`
			Editable       bool              `json:"editable"`
			Version        int               `json:"version"`
			JSONData       map[string]any    `json:"jsonData"`
			SecureJSONData map[string]string `json:"secureJsonData"`
		} `json:"datasources"`
	}
	strictly(t, files(t)["provisioning/datasources/fleet.yaml"], &sources)
	if sources.APIVersion != 1 || len(sources.Datasources) != 2 {
		t.Errorf("data sources: %+v", sources)
	}
	for _, s := range sources.Datasources {
		if s.Access != "proxy" || s.UID == "" || len(s.UID) > 40 || !strings.HasPrefix(s.URL, "$") {
			t.Errorf("data source %+v", s)
		}
	}
	var providers struct {
		APIVersion int `json:"apiVersion"`
		Providers  []struct {
			Name                  string         `json:"name"`
			OrgID                 int            `json:"orgId"`
			Folder                string         `json:"folder"`
			FolderUID             string         `json:"folderUid"`
			Type                  string         `json:"type"`
			DisableDeletion       bool           `json:"disableDeletion"`
			UpdateIntervalSeconds int            `json:"updateIntervalSeconds"`
			AllowUIUpdates        bool           `json:"allowUiUpdates"`
			Options               map[string]any `json:"options"`
		} `json:"providers"`
	}
	strictly(t, files(t)["provisioning/dashboards/fleet.yaml"], &providers)
	if providers.APIVersion != 1 || len(providers.Providers) != 1 || providers.Providers[0].Type != "file" || providers.Providers[0].Options["path"] == "" {
		t.Errorf("providers: %+v", providers)
	}
}

func TestTheSidecarFindsEachDashboard(t *testing.T) {
	all := files(t)
	var found []string
	for doc := range strings.SplitSeq(string(all["kubernetes/dashboards.yaml"]), "\n---\n") {
		var m struct {
			APIVersion string            `json:"apiVersion"`
			Kind       string            `json:"kind"`
			Data       map[string]string `json:"data"`
			Metadata   struct {
				Name        string            `json:"name"`
				Labels      map[string]string `json:"labels"`
				Annotations map[string]string `json:"annotations"`
			} `json:"metadata"`
		}
		strictly(t, []byte(doc), &m)
		if m.APIVersion != "v1" || m.Kind != "ConfigMap" || m.Metadata.Labels["grafana_dashboard"] != "1" || len(m.Data) != 1 {
			t.Errorf("%s is not what the sidecar looks for", m.Metadata.Name)
		}
		for file, content := range m.Data {
			name := strings.TrimSuffix(strings.TrimPrefix(file, "fleet-"), ".json")
			if content != string(all["dashboards/"+name+".json"]) || !json.Valid([]byte(content)) {
				t.Errorf("%s is not the dashboard %s", file, name)
			}
			found = append(found, name)
		}
	}
	slices.Sort(found)
	if !slices.Equal(found, []string{"device", "fleet", "platform", "rollouts"}) {
		t.Errorf("dashboards %v", found)
	}
}

func TestBothFormsOfTheRulesSayTheSame(t *testing.T) {
	var file struct {
		Groups []rules.Group `json:"groups"`
	}
	strictly(t, files(t)["prometheus/fleet.rules.yaml"], &file)
	var object struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Metadata   any    `json:"metadata"`
		Spec       struct {
			Groups []rules.Group `json:"groups"`
		} `json:"spec"`
	}
	strictly(t, files(t)["kubernetes/rules.yaml"], &object)
	a, _ := json.Marshal(file.Groups)
	b, _ := json.Marshal(object.Spec.Groups)
	if object.Kind != "PrometheusRule" || object.APIVersion != "monitoring.coreos.com/v1" || !bytes.Equal(a, b) {
		t.Error("the PrometheusRule is not the rule file")
	}
}
