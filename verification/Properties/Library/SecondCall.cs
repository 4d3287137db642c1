using Vcmm;

namespace Properties.Library;

/// <summary>A call on a thread of its own, begun in the middle of another.</summary>
internal sealed class SecondCall
{
    private const int MostMoments = 32;

    // What waits for nobody is there within a millisecond; only what does wait is waited for so long.
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);

    private readonly Thread _thread;
    private VcmmError _error;
    private Exception? _thrown;

    public SecondCall(Func<VcmmError> call) =>
        _thread = new(() => _thrown = Record.Exception(() =>
        {
            _error = call();
        }))
        {
            IsBackground = true,
        };

    /// <summary>Whether it waited, when it was begun, for the first call.</summary>
    public bool HasWaited { get; private set; }

    /// <summary>Begins the call.</summary>
    public void Start() => _thread.Start();

    /// <summary>Begins the call; until it has ended or waits.</summary>
    public void Begin()
    {
        Start();
        // A thread that is being started waits for moments, too.
        var spin = new SpinWait();
        for (int waits = 0; waits < MostMoments && _thread.IsAlive; spin.SpinOnce(sleep1Threshold: -1))
            waits = (_thread.ThreadState & ThreadState.WaitSleepJoin) != 0 ? waits + 1 : 0;
        HasWaited = _thread.IsAlive;
    }

    /// <summary>Begins the call, which waits for nobody; until it has ended.</summary>
    public void Run()
    {
        Start();
        HasWaited = !_thread.Join(Patience);
    }

    /// <summary>What came of the call.</summary>
    public VcmmError End()
    {
        Assert.True(_thread.Join(Patience), "nobody woke it");
        Assert.Null(_thrown);
        return _error;
    }
}
