package eventlog

// Subjects of the JetStream API. They belong to subject.go, and stand beside it
// because it is long.

// StreamInfoAPI is where JetStream tells about a stream (ADR-1 and ADR-31 of
// NATS name the API's subjects).
func StreamInfoAPI(stream string) string { return jsAPIPrefix + "STREAM.INFO." + stream }

// StreamDeleteAPI is where a stream is deleted.
func StreamDeleteAPI(stream string) string { return jsAPIPrefix + "STREAM.DELETE." + stream }

// ConsumerCreateAPI is where a consumer of any name with one filter is made.
func ConsumerCreateAPI(stream, filter string) string {
	return jsAPIPrefix + "CONSUMER.CREATE." + stream + "." + any1 + "." + filter
}

// ConsumerDeleteAPI is where any consumer of a stream is deleted.
func ConsumerDeleteAPI(stream string) string {
	return jsAPIPrefix + "CONSUMER.DELETE." + stream + "." + any1
}

// ConsumerDeleteAPIOf is where one consumer of a stream is deleted.
func ConsumerDeleteAPIOf(stream, consumer string) string {
	return jsAPIPrefix + "CONSUMER.DELETE." + stream + "." + consumer
}

// ConsumerNextAPI is where the next messages of one consumer are asked for.
func ConsumerNextAPI(stream, consumer string) string {
	return jsAPIPrefix + "CONSUMER.MSG.NEXT." + stream + "." + consumer
}

// MessageGetAPI is where a stream's leader gives one message.
func MessageGetAPI(stream string) string { return jsAPIPrefix + "STREAM.MSG.GET." + stream }

// DirectGetAPI is where the last message of one subject is read.
func DirectGetAPI(stream, subject string) string {
	return jsAPIPrefix + "DIRECT.GET." + stream + "." + subject
}

// PeopleAPIPrefix is what the JetStream API of account FLEET begins with in account
// PEOPLE, as far as it is there: its own subjects mean something else in an account
// without JetStream.
const PeopleAPIPrefix = "fleet.api"

// PeopleStreamInfoAPI is where account PEOPLE asks about a stream of account FLEET.
func PeopleStreamInfoAPI(stream string) string { return PeopleAPIPrefix + ".STREAM.INFO." + stream }

// PeopleMessageGetAPI is where the leader of a stream of account FLEET gives one
// message to account PEOPLE.
func PeopleMessageGetAPI(stream string) string {
	return PeopleAPIPrefix + ".STREAM.MSG.GET." + stream
}

// DirectGetAPIs matches every direct get of a stream: of one sequence or a batch,
// and of the last message of any subject.
func DirectGetAPIs(stream string) []string {
	return []string{jsAPIPrefix + "DIRECT.GET." + stream, DirectGetAPI(stream, ">")}
}

// ReadableStreams lists the streams that a person may read: the log, the pulses, the
// buckets and the checkpoints.
func ReadableStreams() []string {
	streams := []string{LogStream, PulseStream}
	for _, b := range Buckets() {
		streams = append(streams, BucketStream(b))
	}
	return append(streams, ObjectStream(BucketCheckpoints))
}

// FlowControlSubjects is where a push consumer's client answers flow control.
func FlowControlSubjects(stream string) string { return "$JS.FC." + stream + ".>" }

const jsAPIPrefix = "$JS.API."

// ReadAPIsOf matches the parts of the JetStream API by which one stream is read: by
// consumers of the reader's own and by the stream's leader.
func ReadAPIsOf(stream string) []string {
	apis := []string{"INFO", "STREAM.INFO." + stream, "STREAM.MSG.GET." + stream}
	for _, api := range []string{"CREATE", "INFO", "DELETE", "MSG.NEXT"} {
		apis = append(apis, "CONSUMER."+api+"."+stream+".>")
	}
	for i, api := range apis {
		apis[i] = jsAPIPrefix + api
	}
	return apis
}
