package config

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/matrixon/matrixon/matrix/appservice"
	"github.com/matrixon/matrixon/matrix/id"
)

// registration is the registration file of an application service (application service API, "Registration"). Bridges write
// further keys into theirs, which mean nothing here.
type registration struct {
	ID              string     `yaml:"id"`
	URL             string     `yaml:"url"`
	ASToken         Secret     `yaml:"as_token"`
	HSToken         Secret     `yaml:"hs_token"`
	SenderLocalpart string     `yaml:"sender_localpart"`
	Namespaces      namespaces `yaml:"namespaces"`
	RateLimited     bool       `yaml:"rate_limited"`
	Protocols       []string   `yaml:"protocols"`
	Ephemeral       bool       `yaml:"receive_ephemeral"`
	PushEphemeral   bool       `yaml:"push_ephemeral"` // earlier names of the same
	OldEphemeral    bool       `yaml:"de.sorunome.msc2409.push_ephemeral"`
	Encryption      bool       `yaml:"org.matrix.msc3202"`
	Devices         bool       `yaml:"io.element.msc4190"` // always allowed
}

type namespaces struct {
	Users   []namespace `yaml:"users"`
	Aliases []namespace `yaml:"aliases"`
	Rooms   []namespace `yaml:"rooms"`
}

type namespace struct {
	Exclusive bool   `yaml:"exclusive"`
	Regex     string `yaml:"regex"`
	GroupID   string `yaml:"group_id"` // of what communities were
}

// Registrations reads the application services that the configuration names. The error is of type Problems, and holds everything
// that is wrong with any of them.
func (c *Config) Registrations() (*appservice.Set, error) {
	var all []*appservice.Registration
	var problems Problems
	seen := registered{ids: map[string]string{}, tokens: map[Secret]string{}, senders: map[string]string{}}
	for i, path := range c.Appservices {
		files, err := registrationFiles(path)
		if err != nil {
			problems = append(problems, Problem{Key: fmt.Sprintf("appservices.%d", i), Message: err.Error()})
		}
		for _, file := range files {
			r, wrong := readRegistration(file, c.ServerName, seen)
			all, problems = append(all, r), append(problems, wrong...)
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return appservice.NewSet(c.ServerName, all...), nil
}

// registrationFiles gives the file, or those of the folder whose names end as those of YAML files do.
func registrationFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return []string{path}, err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); !e.IsDir() && (ext == ".yaml" || ext == ".yml") && !strings.HasPrefix(e.Name(), ".") {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	return files, nil
}

// registered says which file has an id, a token or a user already.
type registered struct {
	ids, senders map[string]string
	tokens       map[Secret]string
}

func readRegistration(file, serverName string, seen registered) (*appservice.Registration, Problems) {
	b := newBinder(nil)
	b.lenient = true
	r := registration{RateLimited: true}
	text, err := os.ReadFile(file)
	if err != nil {
		b.fail("", "", "%s", err)
		return nil, b.problems
	}
	root, where, err := parseYAML(text)
	switch {
	case err != nil:
		b.fail(file+where, "", "%s", err)
		return nil, b.problems
	case root == nil:
		b.fail(file, "", "the registration of an application service is expected, and the file is empty")
		return nil, b.problems
	}
	b.node("", root, reflect.ValueOf(&r).Elem(), func(n ast.Node) string { return file + position(n) })
	b.present = file
	b.registration(&r, serverName)
	if before, taken := seen.ids[r.ID]; taken && r.ID != "" {
		b.reject("id", "%q is the id of %s already", r.ID, before)
	}
	if before, taken := seen.tokens[r.ASToken]; taken && r.ASToken != "" {
		b.reject("as_token", "it is that of %s already", before)
	}
	if before, taken := seen.senders[r.SenderLocalpart]; taken && r.SenderLocalpart != "" {
		b.reject("sender_localpart", "it is the user of %s already", before)
	}
	seen.ids[r.ID], seen.tokens[r.ASToken], seen.senders[r.SenderLocalpart] = file, file, file
	made := &appservice.Registration{
		ID: r.ID, URL: strings.TrimRight(r.URL, "/"), ASToken: appservice.Token(r.ASToken), HSToken: appservice.Token(r.HSToken),
		SenderLocalpart: r.SenderLocalpart, Protocols: slices.Compact(slices.Sorted(slices.Values(r.Protocols))), RateLimited: r.RateLimited,
		Ephemeral: r.Ephemeral || r.PushEphemeral || r.OldEphemeral, Encryption: r.Encryption,
		Users: b.namespaces("users", r.Namespaces.Users), Aliases: b.namespaces("aliases", r.Namespaces.Aliases), Rooms: b.namespaces("rooms", r.Namespaces.Rooms),
	}
	return made, b.problems
}

// registration checks what a type cannot say.
func (b *binder) registration(r *registration, serverName string) {
	for _, key := range []struct{ name, value string }{
		{"id", r.ID}, {"as_token", r.ASToken.Reveal()}, {"hs_token", r.HSToken.Reveal()}, {"sender_localpart", r.SenderLocalpart},
	} {
		if key.value == "" {
			b.reject(key.name, "it is required")
		}
	}
	if _, given := b.origins["url"]; !given {
		b.reject("url", "it is required; null if the application service wants no traffic")
	}
	if r.URL != "" {
		b.check("url", serviceURL(r.URL))
	}
	if r.SenderLocalpart != "" && !id.ValidUser("@"+r.SenderLocalpart+":"+serverName) {
		b.reject("sender_localpart", "%q is no localpart of a user id", r.SenderLocalpart)
	}
}

// serviceURL refuses what requests cannot be sent to.
func serviceURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("a URL is expected, such as http://127.0.0.1:29317, or null")
	}
	return nil
}

func (b *binder) namespaces(kind string, given []namespace) []appservice.Namespace {
	all := make([]appservice.Namespace, 0, len(given))
	for i, n := range given {
		path := fmt.Sprintf("namespaces.%s.%d.regex", kind, i)
		if n.Regex == "" {
			b.reject(path, "a regular expression is required")
			continue
		}
		expression, err := appservice.Compile(n.Regex)
		if err != nil {
			b.reject(path, "%s", err)
			continue
		}
		all = append(all, appservice.Namespace{Exclusive: n.Exclusive, Regexp: expression})
	}
	return all
}
