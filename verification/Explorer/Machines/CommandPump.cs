using Explorer.Scheduling;
using IommuSim;
using Vcmm.Vtd;

namespace Explorer.Machines;

/// <summary>
/// The part of the IOMMU that consumes commands, as a task of its own, and the driver's way to wait for it.
/// </summary>
/// <remarks>
/// A driver that polls would starve the pump under a scheduler that is not fair. So between two polls it waits until there was one event
/// more for each poll since before the first: that the pump got further, or that somebody gave back a place in the queue. Once the pump has written the
/// status, or the place is free, the poll after that sees it, and no schedule waits in a loop: an event is never a poll's. Whoever waits for
/// what nobody gives back any more waits for ever, which is a deadlock.
/// </remarks>
public sealed class CommandPump : IWaitPolicy
{
    /// <summary>Its lane.</summary>
    public const string Agent = "iommu";

    private const int PollLimit = 1000;
    private readonly VtdIommu<ControlledMemory, ControlledSteps> _iommu;
    private long _events;
    private bool _rung;
    private bool _isRunning;
    private bool _isStopping;

    /// <summary>The pump of <paramref name="iommu"/>, which consumes nothing by itself.</summary>
    public CommandPump(VtdIommu<ControlledMemory, ControlledSteps> iommu)
    {
        _iommu = iommu;
        iommu.Doorbell += () => _rung = true;
    }

    /// <summary>How often the pump got further, or somebody gave back a place in the queue.</summary>
    public long Events => _events;

    /// <summary>Called each time when it can consume no more.</summary>
    public Action? Idle { get; init; }

    /// <summary>Whether the hardware has not heard what the calling agent waits for: it gives up at once, as if it had waited for long.</summary>
    public Func<bool> IsUnheard { get; set; } = static () => false;

    /// <summary>Starts the task. Before, and after <see cref="Stop"/>, whoever waits consumes the commands himself.</summary>
    public Task Start()
    {
        _isRunning = true;
        return Task.Run(Run);
    }

    /// <summary>Ends the task once nothing is left to consume.</summary>
    public void Stop() => _isStopping = true;

    /// <inheritdoc/>
    public long Begin() => _events;

    /// <inheritdoc/>
    public bool KeepWaiting(long begun, int attempt)
    {
        if (IsUnheard()) return false;
        if (_isRunning) Controlled.WaitUntil(() => _events >= begun + attempt);
        else _iommu.ProcessCommands();
        return attempt < PollLimit;
    }

    /// <inheritdoc/>
    public void GivenBack() => _events++;

    private void Run()
    {
        Attempt.Agent = Agent;
        while (true)
        {
            Controlled.WaitUntil(() => _rung || _isStopping);
            if (!_rung) break;
            _rung = false;
            while (_iommu.ProcessNextCommand()) _events++;
            // The queue may have stopped at an error, which whoever waits must come to see.
            _events++;
            Idle?.Invoke();
        }

        _isRunning = false;
    }
}
