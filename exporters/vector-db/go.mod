module github.com/alfred-agent-platform/backend-exporters/exporters/vector-db

go 1.26.0

require github.com/alfred-agent-platform/backend-exporters/common v0.0.0

replace (
	github.com/alfred-agent-platform/backend-exporters/common => ../../common
	github.com/alfred-agent-platform/backend-exporters/e2e => ../../e2e
)
