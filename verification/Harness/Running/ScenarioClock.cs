namespace Harness.Running;

/// <summary>A clock that only the scenario moves.</summary>
public sealed class ScenarioClock : TimeProvider
{
    private long _now;

    /// <inheritdoc/>
    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    /// <inheritdoc/>
    public override long GetTimestamp() => Interlocked.Read(ref _now);

    /// <inheritdoc/>
    public override DateTimeOffset GetUtcNow() => DateTimeOffset.UnixEpoch.AddTicks(GetTimestamp());

    /// <summary>Time goes by.</summary>
    public void Advance(TimeSpan span) => Interlocked.Add(ref _now, span.Ticks);
}
