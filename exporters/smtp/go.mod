module github.com/alfred-agent-platform/backend-exporters/exporters/smtp

go 1.26.0

replace (
	github.com/alfred-agent-platform/backend-exporters/common => ../../common
	github.com/alfred-agent-platform/backend-exporters/e2e => ../../e2e
)

require (
	github.com/alfred-agent-platform/backend-exporters/common v0.0.0-00010101000000-000000000000
	github.com/emersion/go-sasl v0.0.0-20241020182733-b788ff22d5a6
	github.com/pires/go-proxyproto v0.15.0
)
