module github.com/alfred-agent-platform/backend-exporters/exporters/smtp

go 1.26.0

replace (
	github.com/alfred-agent-platform/backend-exporters/common => ../../common
	github.com/alfred-agent-platform/backend-exporters/e2e => ../../e2e
)
