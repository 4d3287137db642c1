using System.Diagnostics.Tracing;
public sealed class AllocListener : EventListener
{
    public static readonly System.Collections.Concurrent.ConcurrentDictionary<string, long> Counts = new();
    protected override void OnEventSourceCreated(EventSource s) { if (s.Name == "Microsoft-Windows-DotNETRuntime") EnableEvents(s, EventLevel.Verbose, (EventKeywords)1); }
    protected override void OnEventWritten(EventWrittenEventArgs e)
    {
        if (e.EventName != null && e.EventName.StartsWith("GCAllocationTick")) { string t = (string)e.Payload![5]!; long b = (long)(ulong)e.Payload[3]!; Counts.AddOrUpdate(t, b, (_, o) => o + b); }
    }
}
