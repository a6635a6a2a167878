package config_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/matrixon/matrixon/http/api"
)

// asked is a variable in a compose file, with what stands for it when it is not set.
var asked = regexp.MustCompile(`\$\{(\w+)(:[?-][^}]*)?\}`)

// The configurations that deploy/ has are such as this version takes, and serve what clients and other servers need.
func TestDeployed(t *testing.T) {
	t.Parallel()
	read := func(name string) string {
		t.Helper()
		raw, err := os.ReadFile(filepath.Join("../../..", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	var compose struct {
		Environment map[string]string `yaml:"x-environment"`
	}
	if err := yaml.Unmarshal([]byte(read("deploy/compose.yaml")), &compose); err != nil {
		t.Fatal(err)
	}
	environ := []string{"MATRIXON_CLUSTER__NODE=node-a", "MATRIXON_CLUSTER__ADDRESS=node-a:7400"}
	for name, value := range compose.Environment {
		value = asked.ReplaceAllStringFunc(value, func(v string) string {
			if strings.Contains(v, ":-") {
				return ""
			}
			return "something-long"
		})
		environ = append(environ, name+"="+value)
	}
	manifest, _, _ := strings.Cut(read("deploy/kubernetes/matrixon.yaml"), "\n---")
	var configMap struct {
		Data map[string]string
	}
	if err := yaml.Unmarshal([]byte(manifest), &configMap); err != nil {
		t.Fatal(err)
	}
	image := regexp.MustCompile(`MATRIXON_LISTENERS="(.*)"`).FindStringSubmatch(read("Dockerfile"))
	if image == nil {
		t.Fatal("the image sets no listeners")
	}
	for name, from := range map[string]struct {
		file    string
		environ []string
	}{
		"compose":    {"", environ},
		"Kubernetes": {configMap.Data["matrixon.yaml"], []string{"MATRIXON_CLUSTER__NODE=m-0", "MATRIXON_CLUSTER__ADDRESS=m-0:7400", "MATRIXON_CLUSTER__SECRET=something-long", "MATRIXON_STORAGE=postgres://m@db/m"}},
		"Dockerfile": {"", []string{"MATRIXON_LISTENERS=" + image[1]}},
	} {
		c := mustLoad(t, from.file, from.environ, nil)
		for _, part := range []api.Part{api.Client, api.Federation, api.Media} {
			if !slices.ContainsFunc(c.Listeners[0].Serves, func(p string) bool { return p == string(part) }) {
				t.Errorf("%s: the first listener does not serve %s", name, part)
			}
		}
	}
}
