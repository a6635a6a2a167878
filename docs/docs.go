// Package docs holds those documents that the server itself shows.
package docs

import _ "embed"

// AdminAPI describes the admin API, as OpenAPI 3.1 in YAML.
//
//go:embed admin-api.yaml
var AdminAPI []byte
