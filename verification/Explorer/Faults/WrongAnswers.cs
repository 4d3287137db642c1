using Harness.Passing;
using Platform;
using Vcmm;

namespace Explorer.Faults;

/// <summary>An access that waits is answered when its request is taken: it is tried again before its hook has put a page there.</summary>
internal sealed class AnswersEarly(IIommu inner) : FaultyIommu(inner)
{
    public override bool TryTakeFault(out DeviceFault fault)
    {
        bool isThere = Inner.TryTakeFault(out fault);
        if (isThere && fault.IsStalled) Inner.EndFault(fault, retry: true);
        return isThere;
    }
}

/// <summary>Whatever a hook answers, the access is tried again, or whatever it answers, it is refused.</summary>
internal sealed class IgnoresHooks(IIommu inner, bool retries) : FaultyIommu(inner)
{
    public override VcmmError EndFault(in DeviceFault fault, bool retry) => Inner.EndFault(fault, retries);
}

/// <summary>What is to be answered is left in one place for all who dispatch, and found there when it is sent.</summary>
internal sealed class AnswersFromOnePlace(IIommu inner) : FaultyIommu(inner)
{
    private Answer? _next;

    public override VcmmError EndFault(in DeviceFault fault, bool retry)
    {
        Volatile.Write(ref _next, new(fault, retry));
        Answer answer = Volatile.Read(ref _next)!;
        return Inner.EndFault(answer.Fault, answer.Retry);
    }

    private sealed record Answer(DeviceFault Fault, bool Retry);
}

/// <summary>A request is looked at and taken in two steps: two that dispatch may both have it.</summary>
internal sealed class TakesInTwoSteps(IIommu inner) : FaultyIommu(inner)
{
    private Taken? _first;

    public override bool TryTakeFault(out DeviceFault fault)
    {
        Taken? first = Volatile.Read(ref _first);
        if (first is null)
        {
            if (!Inner.TryTakeFault(out fault)) return false;
            first = new(fault);
            Volatile.Write(ref _first, first);
        }

        Volatile.Write(ref _first, null);
        fault = first.Fault;
        return true;
    }

    private sealed record Taken(DeviceFault Fault);
}

/// <summary>A detach does not answer what waits in the address space: see <see cref="AnswersAtDetach"/>.</summary>
internal sealed class LeavesRequests(IIommu inner) : FaultyIommu(inner)
{
    // A controlled task keeps to one thread.
    [ThreadStatic]
    private static bool _isDetaching;

    /// <summary>Whether the caller is in a detach.</summary>
    public static bool IsDetaching => _isDetaching;

    public override VcmmError Detach(StreamId device, Pasid? pasid, DomainId domain)
    {
        _isDetaching = true;
        try
        {
            return Inner.Detach(device, pasid, domain);
        }
        finally
        {
            _isDetaching = false;
        }
    }
}

/// <summary>An answer that the hardware did not hear is not sent again: see <see cref="AnswersAtDetach"/>.</summary>
internal sealed class ForgetsUnheard : FaultyIommu
{
    private static int _lost;

    public ForgetsUnheard(IIommu inner)
        : base(inner) => Volatile.Write(ref _lost, 0);

    public override VcmmError EndFault(in DeviceFault fault, bool retry)
    {
        VcmmError error = Inner.EndFault(fault, retry);
        if (error == VcmmError.HardwareFailure) Volatile.Write(ref _lost, 1);
        return error;
    }

    /// <summary>Whether what is sent next was sent before and not heard.</summary>
    public static bool Takes() => Interlocked.Exchange(ref _lost, 0) != 0;
}

/// <summary>What is wrong with the answers that a driver sends.</summary>
public enum WrongAnswers
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>They are not sent.</summary>
    Left,

    /// <summary>The last is sent twice.</summary>
    SentTwice,

    /// <summary>What was not heard is not sent again.</summary>
    NotAgain,
}

/// <summary>
/// The driver's memory, in which the answers of a detach become commands that do nothing, or the command behind them, which waits until the device has them, one more answer.
/// </summary>
/// <remarks><b>Source.</b> VT-d specification, "Page Group Response Descriptor", "Device-TLB Invalidate Descriptor", "Invalidation Wait Descriptor".</remarks>
/// <param name="inner">The memory as it should be.</param>
/// <param name="isQueue">Whether a word is one of the command queue.</param>
/// <param name="wrong">What is wrong.</param>
internal sealed class AnswersAtDetach(IPhysicalMemory inner, Func<PhysAddr, bool> isQueue, WrongAnswers wrong) : PassingMemory(inner)
{
    private const ulong TypeMask = 0xf, DeviceTlb = 3, PasidDeviceTlb = 8, Wait = 5, Answer = 9, FirstWordMask = 0x1f;

    private (ulong Low, ulong High) _answer;
    private PhysAddr? _rest;
    private ulong _restValue;

    public override void Write64(PhysAddr address, ulong value)
    {
        // The driver writes one descriptor after the other, the first word of each first.
        if (isQueue(address)) value = _rest == address ? _restValue : (address.Value & FirstWordMask) == 0 ? First(address, value) : Second(value);
        Inner.Write64(address, value);
    }

    private ulong First(PhysAddr address, ulong value)
    {
        _rest = null;
        ulong type = value & TypeMask;
        bool isBehindAnswer = _answer.Low != 0 && type is DeviceTlb or PasidDeviceTlb;
        (ulong low, ulong high) = _answer;
        _answer = default;
        if (wrong == WrongAnswers.Left && type == Answer && LeavesRequests.IsDetaching) return Instead(address, Wait, 0);
        if (wrong == WrongAnswers.NotAgain && type == Answer && ForgetsUnheard.Takes()) return Instead(address, Wait, 0);
        if (wrong == WrongAnswers.SentTwice && isBehindAnswer) return Instead(address, low, high);
        if (type == Answer) _answer.Low = value;
        return value;
    }

    private ulong Instead(PhysAddr address, ulong low, ulong high)
    {
        (_rest, _restValue) = (address + sizeof(ulong), high);
        return low;
    }

    private ulong Second(ulong value)
    {
        if (_answer.Low != 0 && _answer.High == 0) _answer.High = value;
        return value;
    }
}
