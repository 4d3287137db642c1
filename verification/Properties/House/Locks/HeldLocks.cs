using System.Collections.Immutable;
using Mono.Cecil;
using Mono.Cecil.Cil;

namespace Properties.House.Locks;

/// <summary>Locks that a method leaves held, or leaves although its caller took them.</summary>
internal sealed record Effect(ImmutableHashSet<Gate> Leaves, ImmutableHashSet<Gate> Releases)
{
    public static readonly Effect None = new([], []);
}

/// <summary>Which locks a method may hold at each of its instructions, those among them that a callee left held.</summary>
/// <remarks>
/// What may be held is joined where paths meet. A <c>finally</c> that exits a lock, in whatever loop or under whatever condition, has
/// exited it at its end: it is the compiler's for <c>lock</c>, or one that counts what it has taken.
/// </remarks>
internal sealed class HeldLocks
{
    /// <summary>More of one lock than this are not told apart.</summary>
    private const int Many = 8;

    private readonly Body _body;
    private readonly Func<Instruction, Effect> _effectOf;
    private readonly Dictionary<Instruction, ImmutableDictionary<Gate, int>> _before = [];
    private readonly Dictionary<ExceptionHandler, ImmutableDictionary<Gate, int>> _exitedBy = [];

    /// <param name="body">The method.</param>
    /// <param name="effectOf">What the calls of an instruction do.</param>
    public HeldLocks(Body body, Func<Instruction, Effect> effectOf)
    {
        _body = body;
        _effectOf = effectOf;
        foreach (ExceptionHandler handler in Handlers.Where(handler => handler.HandlerType is ExceptionHandlerType.Finally)) _exitedBy[handler] = ExitsOf(handler);
        Follow();
    }

    private IEnumerable<ExceptionHandler> Handlers => _body.Method.Body.ExceptionHandlers;

    public IEnumerable<Gate> At(Instruction instruction) => _before.TryGetValue(instruction, out ImmutableDictionary<Gate, int>? held) ? held.Keys : [];

    /// <summary>What the method does to the locks of its callers. Whoever enters and exits a lock keeps the balance.</summary>
    public Effect Outcome()
    {
        HashSet<Gate> entered = [.. _body.Enters.Values.SelectMany(gates => gates)];
        HashSet<Gate> exited = [.. _body.Exits.Values.SelectMany(gates => gates)];
        foreach (Instruction instruction in _before.Keys)
        {
            Effect effect = _effectOf(instruction);
            entered.UnionWith(effect.Leaves);
            exited.UnionWith(effect.Releases);
        }

        return new([.. entered.Except(exited)], [.. exited.Except(entered)]);
    }

    private void Follow()
    {
        var work = new Stack<Instruction>();
        void Reach(Instruction instruction, ImmutableDictionary<Gate, int> held)
        {
            if (_before.TryGetValue(instruction, out ImmutableDictionary<Gate, int>? known))
            {
                ImmutableDictionary<Gate, int> joined = Join(known, held);
                if (joined.Count == known.Count && joined.All(gate => known[gate.Key] == gate.Value)) return;
                held = joined;
            }

            _before[instruction] = held;
            work.Push(instruction);
        }

        Reach(_body.Method.Body.Instructions[0], ImmutableDictionary<Gate, int>.Empty);
        while (work.TryPop(out Instruction? instruction))
        {
            ImmutableDictionary<Gate, int> held = _before[instruction];
            Throw(instruction, held, Reach);
            held = Step(instruction, held);
            foreach (Instruction next in Body.Successors(instruction))
            {
                if (instruction.OpCode.Code is Code.Leave or Code.Leave_S) Reach(next, Leave(instruction, next, held));
                else Reach(next, held);
            }
        }
    }

    /// <summary>An exception passes the handlers from the inside to the outside.</summary>
    private void Throw(Instruction instruction, ImmutableDictionary<Gate, int> held, Action<Instruction, ImmutableDictionary<Gate, int>> reach)
    {
        foreach (ExceptionHandler handler in Handlers.Where(handler => IsIn(instruction, handler)).OrderBy(handler => handler.TryEnd.Offset - handler.TryStart.Offset))
        {
            reach(handler.HandlerStart, held);
            if (handler.FilterStart is not null) reach(handler.FilterStart, held);
            if (_exitedBy.TryGetValue(handler, out ImmutableDictionary<Gate, int>? exited)) held = Subtract(held, exited);
        }
    }

    private ImmutableDictionary<Gate, int> Leave(Instruction from, Instruction to, ImmutableDictionary<Gate, int> held)
    {
        foreach ((ExceptionHandler handler, ImmutableDictionary<Gate, int> exited) in _exitedBy)
        {
            if (IsIn(from, handler) && !IsIn(to, handler)) held = Subtract(held, exited);
        }

        return held;
    }

    private ImmutableDictionary<Gate, int> Step(Instruction instruction, ImmutableDictionary<Gate, int> held)
    {
        if (_body.Enters.TryGetValue(instruction, out Gate[]? entered))
        {
            foreach (Gate gate in entered) held = held.SetItem(gate, Math.Min(Many, held.GetValueOrDefault(gate) + 1));
        }

        if (_body.Exits.TryGetValue(instruction, out Gate[]? exited)) held = Subtract(held, exited.ToImmutableDictionary(gate => gate, _ => 1));
        Effect effect = _effectOf(instruction);
        held = held.RemoveRange(effect.Releases);
        foreach (Gate gate in effect.Leaves) held = held.SetItem(gate, Math.Min(Many, held.GetValueOrDefault(gate) + 1));
        return held;
    }

    private ImmutableDictionary<Gate, int> ExitsOf(ExceptionHandler handler)
    {
        var exits = ImmutableDictionary<Gate, int>.Empty;
        for (Instruction? at = handler.HandlerStart; at is not null && at != handler.HandlerEnd; at = at.Next)
        {
            foreach (Gate gate in _effectOf(at).Releases) exits = exits.SetItem(gate, Many);
            if (!_body.Exits.TryGetValue(at, out Gate[]? gates)) continue;
            int count = IsInLoop(at, handler) ? Many : 1;
            foreach (Gate gate in gates) exits = exits.SetItem(gate, Math.Min(Many, exits.GetValueOrDefault(gate) + count));
        }

        return exits;
    }

    private static bool IsInLoop(Instruction instruction, ExceptionHandler handler)
    {
        for (Instruction? at = instruction; at is not null && at != handler.HandlerEnd; at = at.Next)
        {
            if (Body.Successors(at).Any(next => next.Offset <= instruction.Offset && next.Offset < at.Offset)) return true;
        }

        return false;
    }

    private static bool IsIn(Instruction instruction, ExceptionHandler handler) =>
        instruction.Offset >= handler.TryStart.Offset && instruction.Offset < handler.TryEnd.Offset;

    private static ImmutableDictionary<Gate, int> Join(ImmutableDictionary<Gate, int> a, ImmutableDictionary<Gate, int> b)
    {
        foreach ((Gate gate, int count) in b) a = a.SetItem(gate, Math.Max(count, a.GetValueOrDefault(gate)));
        return a;
    }

    private static ImmutableDictionary<Gate, int> Subtract(ImmutableDictionary<Gate, int> held, ImmutableDictionary<Gate, int> exited)
    {
        foreach ((Gate gate, int count) in exited)
        {
            int left = held.GetValueOrDefault(gate) - count;
            held = left > 0 ? held.SetItem(gate, left) : held.Remove(gate);
        }

        return held;
    }
}
