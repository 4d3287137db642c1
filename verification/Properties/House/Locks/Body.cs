using Mono.Cecil;
using Mono.Cecil.Cil;

namespace Properties.House.Locks;

/// <summary>What a place of the evaluation stack may hold, as far as it matters for locks.</summary>
/// <param name="Gates">The locks that it may be.</param>
/// <param name="Type">The static type, where it is known.</param>
/// <param name="Hoisted">Whether it comes from a field that an iterator or an async method keeps between its steps.</param>
internal sealed record Value(string Gates, TypeReference? Type, bool Hoisted = false)
{
    public static readonly Value Unknown = new("", null);

    /// <summary>Names of gates are kept in one string, so that values compare by what they are.</summary>
    public static Value Join(Value a, Value b)
    {
        if (a == b) return a;
        string gates = string.Join('|', a.Gates.Split('|').Concat(b.Gates.Split('|')).Where(name => name.Length != 0).Distinct().Order(StringComparer.Ordinal));
        return new(gates, a.Type is not null && b.Type is not null && a.Type.FullName == b.Type.FullName ? a.Type : null, a.Hoisted || b.Hoisted);
    }
}

/// <summary>
/// Follows the objects that a method locks from where it reads them to <c>Enter</c> and <c>Exit</c> of <c>Monitor</c> or <c>ThinLock</c>, through the temporaries
/// that the compiler makes for <c>lock</c>, through array elements, and through properties that return a field.
/// </summary>
internal sealed class Body
{
    private readonly LockRanks _ranks;
    private readonly MethodDefinition _method;
    private readonly Dictionary<Instruction, State> _before = [];
    private readonly Dictionary<string, Gate> _byName = [];

    /// <summary>Locks that the compiler keeps in fields, in iterators and async methods.</summary>
    private readonly Dictionary<string, string> _hoisted = [];

    public Body(MethodDefinition method, LockRanks ranks)
    {
        _method = method;
        _ranks = ranks;
        Follow();
    }

    public MethodDefinition Method => _method;

    /// <summary>The locks that an instruction enters or leaves.</summary>
    public Dictionary<Instruction, Gate[]> Enters { get; } = [];

    public Dictionary<Instruction, Gate[]> Exits { get; } = [];

    /// <summary>What is locked and cannot be followed.</summary>
    public List<string> Problems { get; } = [];

    public static IEnumerable<Instruction> Successors(Instruction instruction)
    {
        switch (instruction.OpCode.FlowControl)
        {
            case FlowControl.Branch:
                yield return (Instruction)instruction.Operand;
                yield break;
            case FlowControl.Cond_Branch:
                if (instruction.Operand is Instruction[] targets)
                {
                    foreach (Instruction target in targets) yield return target;
                }
                else yield return (Instruction)instruction.Operand;

                break;
            case FlowControl.Return or FlowControl.Throw:
                yield break;
        }

        if (instruction.Next is not null) yield return instruction.Next;
    }

    private void Follow()
    {
        var work = new Stack<Instruction>();
        void Reach(Instruction instruction, State state)
        {
            if (_before.TryGetValue(instruction, out State? known))
            {
                State joined = State.Join(known, state);
                if (joined.IsAs(known)) return;
                state = joined;
            }

            _before[instruction] = state;
            work.Push(instruction);
        }

        Value[] locals = [.. _method.Body.Variables.Select(variable => new Value("", variable.VariableType))];
        Reach(_method.Body.Instructions[0], new([], locals));
        while (work.TryPop(out Instruction? instruction))
        {
            State state = _before[instruction];
            foreach (ExceptionHandler handler in _method.Body.ExceptionHandlers)
            {
                if (instruction.Offset < handler.TryStart.Offset || instruction.Offset >= handler.TryEnd.Offset) continue;
                Value[] caught = handler.HandlerType is ExceptionHandlerType.Catch or ExceptionHandlerType.Filter ? [Value.Unknown] : [];
                Reach(handler.HandlerStart, state with { Stack = [.. caught] });
                if (handler.FilterStart is not null) Reach(handler.FilterStart, state with { Stack = [.. caught] });
            }

            State after = Step(instruction, state);
            bool leaves = instruction.OpCode.Code is Code.Leave or Code.Leave_S;
            foreach (Instruction next in Successors(instruction)) Reach(next, leaves ? after with { Stack = [] } : after);
        }
    }

    private State Step(Instruction instruction, State state)
    {
        var stack = new List<Value>(state.Stack);
        Value[] locals = state.Locals;
        Value Pop()
        {
            if (stack.Count == 0) return Value.Unknown;
            Value top = stack[^1];
            stack.RemoveAt(stack.Count - 1);
            return top;
        }

        switch (instruction.OpCode.Code)
        {
            case Code.Ldarg_0 or Code.Ldarg_1 or Code.Ldarg_2 or Code.Ldarg_3 or Code.Ldarg or Code.Ldarg_S:
                stack.Add(new("", ArgumentType(instruction)));
                break;
            case Code.Ldloc_0 or Code.Ldloc_1 or Code.Ldloc_2 or Code.Ldloc_3 or Code.Ldloc or Code.Ldloc_S:
                stack.Add(locals[LocalOf(instruction)]);
                break;
            case Code.Stloc_0 or Code.Stloc_1 or Code.Stloc_2 or Code.Stloc_3 or Code.Stloc or Code.Stloc_S:
                locals = [.. locals];
                int index = LocalOf(instruction);
                Value stored = Pop();
                locals[index] = stored with { Type = stored.Type ?? _method.Body.Variables[index].VariableType };
                break;
            case Code.Ldfld:
                Pop();
                stack.Add(OfField((FieldReference)instruction.Operand));
                break;
            case Code.Ldsfld:
                stack.Add(OfField((FieldReference)instruction.Operand));
                break;
            case Code.Stfld:
                string kept = Pop().Gates;
                Pop();
                if (kept.Length != 0) _hoisted[((FieldReference)instruction.Operand).FullName] = kept;
                break;
            case Code.Dup:
                Value top = Pop();
                stack.AddRange([top, top]);
                break;
            case Code.Ldelem_Ref or Code.Ldelem_Any:
                Pop();
                Value array = Pop();
                stack.Add(new(array.Gates, (array.Type as ArrayType)?.ElementType));
                break;
            case Code.Castclass or Code.Isinst or Code.Unbox_Any:
                Value cast = Pop();
                stack.Add(cast with { Type = cast.Type ?? (TypeReference)instruction.Operand });
                break;
            case Code.Call or Code.Callvirt or Code.Newobj:
                Call(instruction, (MethodReference)instruction.Operand, stack, Pop);
                break;
            default:
                int pops = PopCount(instruction, stack.Count);
                for (int i = 0; i < pops; i++) Pop();
                for (int i = PushCount(instruction.OpCode.StackBehaviourPush); i > 0; i--) stack.Add(Value.Unknown);
                break;
        }

        return new(stack, locals);
    }

    private void Call(Instruction instruction, MethodReference called, List<Value> stack, Func<Value> pop)
    {
        Value first = Value.Unknown;
        for (int i = called.Parameters.Count; i > 0; i--) first = pop();
        Value self = called.HasThis && instruction.OpCode.Code != Code.Newobj ? pop() : Value.Unknown;
        if (called.DeclaringType.Name == "ThinLock" && called.Name == "Enter") Enters[instruction] = GatesOf(self);
        if (called.DeclaringType.Name == "ThinLock" && called.Name == "Exit") Exits[instruction] = GatesOf(self);
        if (called.DeclaringType.FullName == "System.Threading.Monitor")
        {
            if (called.Name is "Enter" or "TryEnter") Enters[instruction] = GatesOf(first);
            if (called.Name == "Exit") Exits[instruction] = GatesOf(first);
            if (called.Name is "Wait" or "Pulse" or "PulseAll" && !GatesOf(first).All(gate => _ranks.Allows("Signalled", gate.Rank, Names.Of(_method))))
                Problems.Add($"{Names.Of(_method)} uses Monitor.{called.Name}, which the order says nothing of");
        }

        if (instruction.OpCode.Code == Code.Newobj) stack.Add(new("", called.DeclaringType));
        else if (called.ReturnType.FullName != "System.Void") stack.Add(OfReturned(called));
    }

    private Gate[] GatesOf(Value value)
    {
        if (value.Gates.Length != 0) return [.. value.Gates.Split('|').Select(name => _byName[name])];
        if (value.Type?.Resolve() is { IsClass: true } type && type.Module == _method.Module && type.FullName != "System.Object") return [_ranks.GateOf(type)];
        // The end of a lock that an iterator holds across a step, in a method of its own.
        if (!value.Hoisted) Report($"{Names.Of(_method)} locks what cannot be followed: lock a field of type object or ThinLock, or an object of a class with a rank");
        return [];
    }

    private void Report(string problem)
    {
        if (!Problems.Contains(problem)) Problems.Add(problem);
    }

    private Value OfField(FieldReference reference)
    {
        TypeReference type = reference.FieldType;
        bool isHoisted = reference.Name.StartsWith('<') && reference.DeclaringType.Name.StartsWith('<');
        bool isGate = MayBeGate(type);
        if (isHoisted) return new(_hoisted.GetValueOrDefault(reference.FullName, ""), type, Hoisted: true);
        if (!isGate || reference.Resolve() is not { } field || field.Module != _method.Module) return new("", type);
        Gate gate = _ranks.GateOf(field);
        _byName[gate.Name] = gate;
        return new(gate.Name, type);
    }

    /// <summary>A property that does no more than return a field is that field.</summary>
    private Value OfReturned(MethodReference called)
    {
        if (!MayBeGate(called.ReturnType) || called.Resolve() is not { HasBody: true } method || method.Module != _method.Module) return new("", called.ReturnType);
        Instruction[] body = [.. method.Body.Instructions.Where(instruction => instruction.OpCode.Code != Code.Nop)];
        return body is [{ OpCode.Code: Code.Ldarg_0 }, { OpCode.Code: Code.Ldfld, Operand: FieldReference field }, { OpCode.Code: Code.Ret }]
            ? OfField(field)
            : new("", called.ReturnType);
    }

    private static bool MayBeGate(TypeReference type) => type.FullName is "System.Object" or "System.Object[]" || type.Name is "ThinLock" or "ThinLock[]";

    private TypeReference? ArgumentType(Instruction instruction)
    {
        int index = instruction.Operand is ParameterDefinition parameter ? parameter.Index + (_method.HasThis ? 1 : 0) : instruction.OpCode.Code - Code.Ldarg_0;
        if (_method.HasThis) index--;
        return index < 0 ? _method.DeclaringType : _method.Parameters[index].ParameterType;
    }

    private static int LocalOf(Instruction instruction) => instruction.Operand is VariableDefinition variable
        ? variable.Index
        : instruction.OpCode.Code - (instruction.OpCode.Code >= Code.Stloc_0 ? Code.Stloc_0 : Code.Ldloc_0);

    private int PopCount(Instruction instruction, int depth) => instruction.OpCode.StackBehaviourPop switch
    {
        StackBehaviour.Pop0 => 0,
        StackBehaviour.Pop1 or StackBehaviour.Popi or StackBehaviour.Popref => 1,
        StackBehaviour.PopAll => depth,
        StackBehaviour.Varpop => instruction.OpCode.Code == Code.Ret ? (_method.ReturnType.FullName == "System.Void" ? 0 : 1) : ((CallSite)instruction.Operand).Parameters.Count + 1,
        StackBehaviour.Popi_popi_popi or StackBehaviour.Popref_popi_popi or StackBehaviour.Popref_popi_popi8 or StackBehaviour.Popref_popi_popr4
            or StackBehaviour.Popref_popi_popr8 or StackBehaviour.Popref_popi_popref => 3,
        _ => 2,
    };

    private static int PushCount(StackBehaviour push) => push switch
    {
        StackBehaviour.Push0 => 0,
        StackBehaviour.Push1_push1 => 2,
        _ => 1,
    };

    private sealed record State(List<Value> Stack, Value[] Locals)
    {
        public static State Join(State a, State b) => new(
            [.. a.Stack.Zip(b.Stack, Value.Join)],
            [.. a.Locals.Zip(b.Locals, Value.Join)]);

        public bool IsAs(State other) => Stack.SequenceEqual(other.Stack) && Locals.AsSpan().SequenceEqual(other.Locals);
    }
}
