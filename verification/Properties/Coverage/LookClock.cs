namespace Properties.Coverage;

/// <summary>A clock that goes on by a millisecond whenever somebody looks at it: what is done in a time does not depend on the machine.</summary>
internal sealed class LookClock : TimeProvider
{
    private long _looks;

    public override long TimestampFrequency => 1000;

    public override long GetTimestamp() => Interlocked.Increment(ref _looks);
}
